# ── deltas ────────────────────────────────────────────────────────────────────────────────────────
# A delta holds what an older release does not have (docs/bundle.md). It is made whole from that
# release's files: those that this site kept of an installed version, or a folder or bundle that is
# named with --base. Nothing is believed here; what comes out is held against the signed list like
# every other file, and only then it is told whose fault a difference is.

BASE_DIR=''

# stands_on: sets BASE_DIGEST and BASE_TOLD from the delta's own description.
stands_on() {
  BASE_DIGEST=$(sed -n 's/.*"delta":{"base":{"digest":"sha256:\([0-9a-f]\{64\}\)","name":"[^"]*","version":"[^"]*"},"kept":.*/\1/p' "$WORK/bundle.json")
  BASE_TOLD=$(sed -n 's/.*"delta":{"base":{"digest":"[^"]*","name":"\([^"]*\)","version":"\([^"]*\)"}.*/\1 \2/p' "$WORK/bundle.json")
  [ -n "$BASE_DIGEST" ]
}

# find_base INTO: sets BASE_DIR, and BASE_OURS when its files may be linked; a bundle is unpacked.
find_base() {
  BASE_DIR='' BASE_OURS=''
  if [ -z "$BASE" ]; then
    for fb_slot in $(printf %s "$S_slots" | cut -d ' ' -f 1,3 | sed -n "s/ $BASE_DIGEST\$//p"); do
      [ ! -f "$HOME_DIR/slots/$fb_slot/release/release.json" ] || BASE_DIR=$HOME_DIR/slots/$fb_slot/release BASE_OURS=1
    done
    [ -n "$BASE_DIR" ] || die 2 "this is a delta, and the files of the release that it stands on are not here" "$GIVEN" \
      "$BASE_TOLD, sha256:$BASE_DIGEST" "$(printf %s "$S_slots" | cut -d ' ' -f 2 | tr '\n' ' ')" \
      "name that release with --base OLD, or bring the full bundle"
  elif [ -d "$BASE" ]; then
    BASE_DIR=$(cd "$BASE" && pwd -P)
  else
    unpack_base "$1"
  fi
  [ "$(digest_of "$BASE_DIR/release.json" 2>/dev/null)" = "$BASE_DIGEST" ] ||
    die 4 "the delta was made from another release" "$GIVEN on ${BASE:-$BASE_DIR}" "$BASE_TOLD, sha256:$BASE_DIGEST" \
      "sha256:$(digest_of "$BASE_DIR/release.json" 2>/dev/null)" "apply it to that release, or bring the full bundle"
}

unpack_base() {
  ub_delta=$PARTS
  PARTS=$BASE
  case $BASE in
    *.parts.json)
      PARTS=''
      while read -r ub_digest ub_name; do
        case $ub_name in */* | '') die 4 "a part's name leads elsewhere" "$BASE" "" "$ub_name" ;; esac
        PARTS="$PARTS${PARTS:+$TAB}$(dirname "$BASE")/$ub_name"
      done <"${BASE%.parts.json}.parts.txt"
      ;;
  esac
  bundle_tar -tvf >"$WORK/tar" 2>"$WORK/said" || die 4 "the older bundle cannot be read" "$BASE" "" "$(said)"
  ! grep -qv '^-' "$WORK/tar" || die 4 "the older bundle holds what is no plain file" "$BASE"
  ! bundle_tar -tf | grep -qE '^/|(^|/)\.\.(/|$)' || die 4 "the older bundle holds a name that leads elsewhere" "$BASE"
  step "unpack $BASE, which the delta stands on"
  rm -rf "$1" && mkdir -p "$1/images" && bundle_tar -xf -C "$1" 2>"$WORK/said" && mv "$1/blobs" "$1/images/blobs" ||
    die 5 "the older bundle cannot be unpacked" "$BASE" "" "$(said)" "free some space, then run this again"
  PARTS=$ub_delta BASE_DIR=$1 BASE_OURS=1
}

# make_whole FOLDER: what the delta left to its base is put beside what it brought.
make_whole() {
  sed 's/.*"kept":\[\([^]]*\)\].*/\1/' "$WORK/bundle.json" | tr ',' '\n' | tr -d '"' >"$WORK/kept"
  ls "$1/delta" 2>/dev/null | sed -n 's/\.recipe$//p' >"$WORK/rebuilt"
  step "make it whole from $BASE_TOLD: $(grep -c . "$WORK/kept") files as they were, $(grep -c . "$WORK/rebuilt") rebuilt"
  # Only what lies in the base as a plain file is taken from there, under the name it has there.
  (cd "$BASE_DIR" && find . -type f) 2>/dev/null | cut -c 3- >"$WORK/base.found"
  has_the_targets
  awk 'NR == FNR { there[$0]; next } substr($0, 67) in there' "$WORK/base.found" "$BASE_DIR/checksums.txt" >"$WORK/base.sums"
  awk 'NR == FNR { kept[$0]; next } substr($0, 67) in kept' "$WORK/kept" "$WORK/checksums.txt" |
    awk 'NR == FNR { at[$1] = substr($0, 67); next } { print (seen[$1]++ ? "again" : "first") "\t" substr($0, 67) "\t" at[$1] }' \
      "$WORK/base.sums" - >"$WORK/pairs"
  cut -f 2 "$WORK/pairs" | sed -n 's|/[^/]*$||p' | sort -u | while IFS= read -r mw_name; do mkdir -p "$1/$mw_name"; done
  while IFS=$TAB read -r mw_how mw_to mw_from; do
    if [ -z "$mw_from" ]; then
      finding 4 "the release that the delta stands on lacks a file" "$BASE_DIR" "$mw_to of $R_VERSION" "" \
        "bring that release again, or the full bundle of the new one"
      continue
    fi
    if [ -e "$1/$mw_to" ]; then
      finding 4 "the delta is damaged: it brings a file that it leaves to its base" "$GIVEN: $mw_to" "" "" "get it again from its maker"
      continue
    fi
    # One name a file: a second one within a release would be refused as a link.
    [ "$BASE_OURS-$mw_how" = 1-first ] && ln "$BASE_DIR/$mw_from" "$1/$mw_to" 2>/dev/null && continue
    cp "$BASE_DIR/$mw_from" "$1/$mw_to" 2>"$WORK/said" ||
      die 5 "a file of the release that the delta stands on cannot be copied" "$BASE_DIR/$mw_from" "" "$(said)" \
        "free some space, or try another medium"
  done <"$WORK/pairs"
  [ "$RESULT" = 0 ] || leave "$RESULT"
  : >"$WORK/uses"
  while read -r mw_hex; do rebuild_blob "$1" "$mw_hex"; done <"$WORK/rebuilt"
  rm -rf "$1/delta"
}

# A base of some targets is nobody's damage: a delta of more targets was brought to it.
has_the_targets() {
  ht_old='' ht_here=''
  for ht_target in $(sed 's/.*"targets":\[\([^]]*\)\].*/\1/' "$WORK/bundle.json" | tr -d '"' | tr ',' ' '); do
    grep -qF "  targets/$ht_target/" "$BASE_DIR/checksums.txt" || continue
    ht_old="$ht_old${ht_old:+, }$ht_target"
    ! grep -q "^targets/$ht_target/" "$WORK/base.found" || ht_here="$ht_here${ht_here:+, }$ht_target"
  done
  [ "$ht_old" = "$ht_here" ] || die 2 "the delta carries targets that the release it stands on does not have here" \
    "$GIVEN on ${BASE:-$BASE_DIR}" "$ht_old" "${ht_here:-none of them}" \
    "have the delta made for these targets (--target), or bring the full bundle"
}

# rebuild_blob FOLDER HEX: a blob put together as its recipe says, a line for each run of bytes.
rebuild_blob() {
  rb_recipe=$1/delta/$2.recipe rb_blob=$1/images/blobs/sha256/$2
  if sed 1d "$rb_recipe" | grep -qvxE 'copy [0-9a-f]{64} [0-9]{1,15} [0-9]{1,15}|data [0-9]{1,15} [0-9]{1,15}'; then
    die 4 "the delta is damaged: a recipe cannot be understood" "$GIVEN: delta/$2.recipe"
  fi
  sed -n "s/^copy \([0-9a-f]\{64\}\) .*/$2 \1/p" "$rb_recipe" | sort -u >>"$WORK/uses"
  sed 1d "$rb_recipe" | while read -r rb_what rb_a rb_b rb_c; do
    case $rb_what in
      copy) piece "$BASE_DIR/images/blobs/sha256/$rb_a" "$rb_b" "$rb_c" ;;
      data) piece "$1/delta/$2.data" "$rb_a" "$rb_b" ;;
    esac
  done >"$rb_blob" 2>"$WORK/said" || die 5 "a file of the new release cannot be written" "$rb_blob" "" "$(said)" \
    "free some space, then run this again"
}

# piece FILE OFFSET LENGTH: so many bytes of a file, without reading what lies before them.
piece() {
  dd if="$1" bs=65536 skip=$(($2 / 65536)) 2>/dev/null | tail -c +$(($2 % 65536 + 1)) | head -c "$3"
}

# blame NAME: says whose fault it is that a file of the release did not come out as signed.
blame() {
  bl_fault='' bl_hex=${1##*/}
  if grep -qxF -e "$1" "$WORK/kept"; then
    bl_fault=$(awk -F "$TAB" -v name="$1" '$2 == name { print $3 }' "$WORK/pairs")
  else
    for bl_base in $(sed -n "s/^$bl_hex //p" "$WORK/uses"); do
      [ "$(digest_of "$BASE_DIR/images/blobs/sha256/$bl_base" 2>/dev/null)" = "$bl_base" ] || bl_fault=images/blobs/sha256/$bl_base
    done
  fi
  if [ -n "$bl_fault" ]; then
    finding 4 "the release that the delta stands on is damaged" "${BASE:-$BASE_DIR}: $bl_fault" "" "" \
      "bring that release again with --base, or the full bundle of the new one"
  else
    finding 4 "the delta is damaged" "$GIVEN: $1" "" "" "get it again from its maker"
  fi
}

# keep_stock: the files of a version that came as a bundle stay with it, for the deltas to come. They
# reach the disk while the new server starts, and before the state says that they are there.
STOCK_PID=''

keep_stock() {
  [ "$SITE_stock" = true ] && [ "$RELEASE" = "$HOME_DIR/incoming" ] || return 0
  ks_to=$HOME_DIR/slots/$SLOT/release
  # Of a version that the state knows already, `status` tells as soon as they are there: they are on
  # the disk before, and what was there goes as a whole.
  if [ -n "$(slot_line "$SLOT")" ]; then
    find "$RELEASE" -exec sync {} + 2>/dev/null || sync
    rm -rf "$HOME_DIR/incoming.base"
    [ ! -e "$ks_to" ] || mv "$ks_to" "$HOME_DIR/incoming.base"
  fi
  rm -rf "$ks_to"
  mv "$RELEASE" "$ks_to" || return 0
  RELEASE=$ks_to
  { find "$HOME_DIR/slots/$SLOT" -exec sync {} + 2>/dev/null || sync; } && share_stock &
  STOCK_PID=$!
}

# What another version has as well is on the disk once: the files just written, and synced.
share_stock() {
  for ks_file in "$ks_to"/images/blobs/sha256/*; do
    for ks_other in "$HOME_DIR"/slots/*/release/images/blobs/sha256/"${ks_file##*/}"; do
      if [ -f "$ks_other" ] && ! [ "$ks_other" -ef "$ks_file" ]; then
        ln "$ks_file" "$ks_other.new" 2>/dev/null && mv -f "$ks_other.new" "$ks_other"
      fi
    done
  done
}

stock_is_kept() {
  [ -z "$STOCK_PID" ] || wait "$STOCK_PID"
  STOCK_PID=''
}
