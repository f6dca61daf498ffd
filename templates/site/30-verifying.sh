# ── verifying ─────────────────────────────────────────────────────────────────────────────────────
# The signature over release.json comes first; it binds checksums.txt, and that binds every file.
# Small files are copied once and only the copies are believed.

UNLISTED='release.json release.sig release.sigstore.json checksums.txt'

fingerprint() { openssl pkey -pubin -in "$1" -outform DER 2>/dev/null | sha256sum | cut -d ' ' -f 1; }

# The keys that are believed: those given with --key, which the site must know if it names any, else
# the site's own. Enough of them must have signed. KEY becomes one that did.
find_keys() {
  fk_known='' fk_signed=''
  fk_here=$(dirname "$SITE")
  each_of "$SITE_keys" fk_site_key
  fk_given=$KEYS KEYS=''
  fk_ifs=$IFS
  IFS=$TAB
  for fk_key in $fk_given; do
    IFS=$fk_ifs
    [ -f "$fk_key" ] || die 2 "there is no public key" "$fk_key" "" "" "give the file of the key from paper with --key"
    case "$fk_known " in
      ' ' | *" $(fingerprint "$fk_key") "*) KEYS="$KEYS${KEYS:+$TAB}$fk_key" ;;
      *) die 3 "the key is none that the site trusts" "$fk_key" "one of $SITE: keys" "sha256:$(fingerprint "$fk_key")" ;;
    esac
  done
  IFS=$fk_ifs
  [ -n "$KEYS" ] || KEYS=$fk_site
  [ -n "$KEYS" ] || die 2 "no public key is given" "$SITE: keys" "" "" \
    "give the key from paper with --key, or name it in the site profile (keys: [site.pub])"
  IFS=$TAB
  for fk_key in $KEYS; do
    IFS=$fk_ifs
    fk_print=$(fingerprint "$fk_key")
    if listed "sha256:$fk_print" "$SITE_revoked" || listed "$fk_print" "$SITE_revoked"; then
      note "the key sha256:$fk_print is revoked here and counts for nothing"
      continue
    fi
    case "$fk_signed " in *" $fk_print "*) continue ;; esac
    if signed_by "$fk_key" "$fk_print"; then
      fk_signed="$fk_signed $fk_print" KEY=$fk_key
    fi
  done
  IFS=$fk_ifs
  # shellcheck disable=SC2086 # one a word
  set -- $fk_signed
  if [ $# -lt "$SITE_require" ]; then
    die 4 "release.json does not carry the signatures of $SITE_require trusted keys" "$RELEASE/release.json" \
      "$SITE_require of $(printf %s "$KEYS" | tr "$TAB" ' ')" "$# of them" \
      "do not use this release; get it again from its maker"
  fi
  KEY_PRINT="sha256:$1"
  shift
  for fk_print in "$@"; do KEY_PRINT="$KEY_PRINT sha256:$fk_print"; done
}

fk_site=''
fk_site_key() {
  fk_name=$1
  case $fk_name in /*) ;; *) fk_name=$fk_here/$fk_name ;; esac
  [ -f "$fk_name" ] || die 2 "a trusted key of the site profile is not there" "$fk_name"
  fk_known="$fk_known $(fingerprint "$fk_name")"
  fk_site="$fk_site${fk_site:+$TAB}$fk_name"
}

# signed_by KEY FINGERPRINT: the first signer's signature is release.sig; that of another lies in a
# file of its own, named after its key.
signed_by() {
  openssl dgst -sha256 -verify "$1" -signature "$WORK/release.sig" "$WORK/release.json" >/dev/null 2>&1 && return 0
  take "release.$(printf %.32s "$2").sigstore.json" 65536 || return 1
  sed -n 's/.*"signature":"\([A-Za-z0-9+/=]*\)".*/\1/p' "$WORK/taken" | openssl base64 -d -A >"$WORK/other.sig" 2>/dev/null
  case $(openssl pkey -pubin -in "$1" -noout -text 2>/dev/null) in
    *ED25519*)
      openssl pkeyutl -verify -pubin -inkey "$1" -rawin -in "$WORK/release.json" -sigfile "$WORK/other.sig" >/dev/null 2>&1
      ;;
    *secp384r1*) openssl dgst -sha384 -verify "$1" -signature "$WORK/other.sig" "$WORK/release.json" >/dev/null 2>&1 ;;
    *) openssl dgst -sha256 -verify "$1" -signature "$WORK/other.sig" "$WORK/release.json" >/dev/null 2>&1 ;;
  esac
}

# take NAME LIMIT: a copy of a small file of the release, believed by nobody; false when there is none.
take() {
  if [ -d "$RELEASE" ]; then
    [ -f "$RELEASE/$1" ] && [ ! -L "$RELEASE/$1" ] || return 1
    head -c $(($2 + 1)) "$RELEASE/$1" >"$WORK/taken" 2>/dev/null
  elif one_part; then
    tar -xOf "$PARTS" "$1" 2>/dev/null | head -c $(($2 + 1)) >"$WORK/taken"
  else
    # Small files lie at the front (docs/bundle.md), so that parts are not read to their end.
    bundle_bytes 2>/dev/null | head -c 100663296 | tar -xOf - "$1" 2>/dev/null | head -c $(($2 + 1)) >"$WORK/taken"
  fi
  tk_size=$(wc -c <"$WORK/taken")
  [ "$tk_size" -gt 0 ] && [ "$tk_size" -le "$2" ]
}

take_root() {
  for tr_name in release.json release.sig checksums.txt; do
    take "$tr_name" 33554432 || die 4 "the file is missing, cannot be read, or is too long" "$RELEASE: $tr_name" "" "" \
      "give the release folder or the bundle"
    cp "$WORK/taken" "$WORK/$tr_name"
  done
}

bundle_bytes() {
  bb_ifs=$IFS
  IFS=$TAB
  # shellcheck disable=SC2086 # the parts, one a word
  cat -- $PARTS
  IFS=$bb_ifs
}

one_part() { case $PARTS in *"$TAB"*) return 1 ;; esac; }

# bundle_tar MODE …: tar on the bundle; one file is read in place, which skips what is not asked for.
bundle_tar() {
  bt_mode=$1
  shift
  if one_part; then tar "$bt_mode" "$PARTS" "$@"; else bundle_bytes | tar "$bt_mode" - "$@"; fi
}

# The size of the bundle in MiB, without reading it.
bundle_mib() {
  bm_ifs=$IFS
  IFS=$TAB
  # shellcheck disable=SC2086 # the parts, one a word
  ls -lnL -- $PARTS | sed 's/  */ /g' | cut -d ' ' -f 5 | {
    bm_sum=0
    while read -r bm_size; do bm_sum=$((bm_sum + bm_size)); done
    echo $((bm_sum / 1048576))
  }
  IFS=$bm_ifs
}

verify_release() {
  GIVEN=$RELEASE
  step "verify $RELEASE"
  case $RELEASE in *.parts.json) take_parts ;; esac
  take_root
  if [ -n "$VERIFIED" ]; then
    [ "$(digest_of "$WORK/release.json")" = "$VERIFIED" ] ||
      die 4 "the release is not the one that was verified a moment ago" "$RELEASE/release.json" "$VERIFIED"
  else
    find_keys
  fi
  if [ -z "$VERIFIED" ] && [ -f "$WORK/parts.json" ] &&
    ! openssl dgst -sha256 -verify "$KEY" -signature "$WORK/parts.sig" "$WORK/parts.json" >/dev/null 2>&1; then
    die 4 "the list of parts does not carry the signature of the trusted key" "$RELEASE"
  fi
  vr_bound=$(grep -o '"checksums":{"count":[0-9]*,"digest":"sha256:[0-9a-f]\{64\}","size":[0-9]*}' "$WORK/release.json")
  vr_list=$(digest_of "$WORK/checksums.txt")
  case $vr_bound in
    *:*'"sha256:'"$vr_list"'",'*) ;;
    *) die 4 "release.json does not bind checksums.txt" "$RELEASE/checksums.txt" "$vr_bound" "sha256:$vr_list" ;;
  esac
  RELEASE_DIGEST=$(digest_of "$WORK/release.json")
  if listed "sha256:$RELEASE_DIGEST" "$SITE_revoked" || listed "$RELEASE_DIGEST" "$SITE_revoked"; then
    die 3 "this release is revoked here" "$SITE: revoked" "" "sha256:$RELEASE_DIGEST" "get a newer one"
  fi
  R_COUNTER=$(grep -o '"metadata":{"counter":[0-9]*,' "$WORK/release.json" | tr -cd '0-9')
  vr_own="targets/$R_TARGET/install.sh"
  if ! grep -qxF "$(digest_of "$SELF")  $vr_own" "$WORK/checksums.txt"; then
    die 4 "this installer is not the release's own" "$SELF" "the one in $RELEASE: $vr_own" "" \
      "run the installer that lies in the release"
  fi
  cut -c 67- <"$WORK/checksums.txt" >"$WORK/listed"
  {
    for vr_name in $UNLISTED; do echo "$vr_name"; done
    # A signature of each further signer that the root names, by the first half of its fingerprint.
    grep -o '"fingerprint":"sha256:[0-9a-f]\{64\}"' "$WORK/release.json" | cut -c 24-55 | sed '1d; s/.*/release.&.sigstore.json/'
  } >>"$WORK/listed"
  sort -o "$WORK/listed" "$WORK/listed"
  if [ -d "$RELEASE" ]; then
    {
      cat "$WORK/listed"
      for vr_hex in $R_MANIFEST $R_CONFIG $R_LAYERS; do echo "images/blobs/sha256/$vr_hex"; done
    } | sort -u >"$WORK/needed"
  else
    unpack_bundle
  fi
  check_world
  check_files
}

# Exactly the signed files: nothing added, nothing that is needed missing, nothing linked.
check_world() {
  (cd "$RELEASE" && find . ! -type d ! -type f) >"$WORK/odd" 2>"$WORK/unread"
  (cd "$RELEASE" && find . -type f) 2>>"$WORK/unread" | cut -c 3- | sort >"$WORK/found"
  while IFS= read -r cw_name; do
    finding 4 "neither a file nor a folder" "$RELEASE/$cw_name"
  done <"$WORK/odd"
  if [ -s "$WORK/unread" ]; then
    finding 4 "the release cannot be read" "$RELEASE" "" "$(head -n 1 "$WORK/unread")" "try another medium"
  fi
  grep -vxF -f "$WORK/listed" "$WORK/found" | head -n 20 >"$WORK/more"
  grep -vxF -f "$WORK/found" "$WORK/needed" | head -n 20 >"$WORK/less"
  while IFS= read -r cw_name; do
    finding 4 "the release does not list this file" "$RELEASE/$cw_name"
  done <"$WORK/more"
  while IFS= read -r cw_name; do finding 4 "the file is missing" "$RELEASE/$cw_name"; done <"$WORK/less"
  [ "$RESULT" = 0 ] || leave "$RESULT"
}

check_files() {
  if [ -n "$VERIFIED" ] && [ "$RELEASE" = "$GIVEN" ]; then
    return 0 # a moment ago, by who called us; the engine hashes once more what it loads
  fi
  # A bundle may carry some targets only; what is there has to be right.
  awk 'NR == FNR { found[$0]; next } substr($0, 67) in found' "$WORK/found" "$WORK/checksums.txt" >"$WORK/expected"
  if [ -n "$VERIFIED" ]; then
    # Unpacked from what was verified a moment ago: of the blobs the engine says whether they are right.
    grep -v '^[0-9a-f]*  images/blobs/' "$WORK/expected" >"$WORK/taken"
    mv "$WORK/taken" "$WORK/expected"
  fi
  hash_files
  # What was hashed to something else, and what could not be read to its end.
  awk 'NR == FNR { want[substr($0, 67)] = $1; next } { if (want[substr($0, 67)] == $1) delete want[substr($0, 67)] }
    END { for (name in want) print name }' "$WORK/expected" "$WORK/sums" | sort | head -n 20 >"$WORK/bad"
  while IFS= read -r cf_name; do
    if [ -n "$BASE_DIR" ]; then
      blame "$cf_name"
      continue
    fi
    finding 4 "the file is not what was signed, or cannot be read" "$RELEASE/$cf_name" "" "" \
      "do not use this release; get it again from its maker"
  done <"$WORK/bad"
  [ "$RESULT" = 0 ] || leave "$RESULT"
  note "signed by $KEY_PRINT; $(wc -l <"$WORK/expected" | tr -d ' ') files are as signed"
}

# hash_files: `digest *name` of all that is expected. By openssl, which uses what the processor has for
# it and many a sha256sum does not; the big ones in two halves at the same time.
hash_files() {
  (cd "$RELEASE/images/blobs/sha256" 2>/dev/null && ls -S) | sed 's|^|images/blobs/sha256/|' >"$WORK/big"
  cut -c 67- "$WORK/expected" |
    awk -v one="$WORK/hash.1" -v two="$WORK/hash.2" 'FILENAME != "-" { big[NR] = $0; n = NR; next } { want[$0] }
      END {
        for (i = 1; i <= n; i++) if (big[i] in want) { print big[i] > (k++ % 4 % 3 ? two : one); delete want[big[i]] }
        for (name in want) print name > two
      }' "$WORK/big" -
  hash_list "$WORK/hash.1" >"$WORK/sums.1" 2>/dev/null &
  hash_list "$WORK/hash.2" >"$WORK/sums" 2>/dev/null
  wait $!
  cat "$WORK/sums.1" >>"$WORK/sums"
}

hash_list() (
  [ -f "$1" ] || return 0
  set -- "$1"
  while IFS= read -r hl_name; do set -- "$@" "$hl_name"; done <"$1"
  shift
  cd "$RELEASE" && openssl dgst -sha256 -r "$@"
)

# A bundle is unpacked only after its list of names was held against the signed list. The layout
# stands in docs/bundle.md: blobs lie at its root, and four documents are there for engines.
unpack_bundle() {
  bundle_tar -tvf 2>"$WORK/tar" | grep -v '^-' >"$WORK/odd"
  [ ! -s "$WORK/tar" ] || die 4 "the bundle cannot be read to its end" "$RELEASE" "" "$(head -n 1 "$WORK/tar")" \
    "try another medium, or get it again"
  [ ! -s "$WORK/odd" ] || die 4 "the bundle holds what is no plain file" "$RELEASE" "" "$(head -n 1 "$WORK/odd")"
  bundle_tar -tf 2>/dev/null | sort >"$WORK/names"
  ub_twice=$(uniq -d <"$WORK/names" | head -n 1)
  [ -z "$ub_twice" ] || die 4 "the bundle holds a file twice" "$RELEASE" "" "$ub_twice"
  take bundle.json 33554432 || die 4 "the bundle does not say what it is" "$RELEASE: bundle.json"
  cp "$WORK/taken" "$WORK/bundle.json"
  sed 's|^blobs/|images/blobs/|' "$WORK/names" |
    grep -vxF -e bundle.json -e oci-layout -e index.json -e manifest.json >"$WORK/carried"
  if stands_on; then
    grep -vxE 'delta/[0-9a-f]{64}\.(recipe|data)' "$WORK/carried" >"$WORK/taken"
    mv "$WORK/taken" "$WORK/carried"
  elif [ -n "$BASE" ]; then
    die 2 "this bundle is whole: it stands on no other release" "$RELEASE" "" "" "install it without --base"
  fi
  grep -vxF -f "$WORK/listed" "$WORK/carried" | head -n 20 >"$WORK/more"
  while IFS= read -r ub_name; do
    finding 4 "the release does not list this file" "$RELEASE: $ub_name"
  done <"$WORK/more"
  [ "$RESULT" = 0 ] || leave "$RESULT"
  # What this target needs has to be there; what others need may have stayed behind.
  {
    grep -e "^targets/$R_TARGET/" -e "/$(echo "$R_TARGET" | tr / -)\." "$WORK/listed"
    for ub_hex in $R_MANIFEST $R_CONFIG $R_LAYERS; do echo "images/blobs/sha256/$ub_hex"; done
    grep '^release\.' "$WORK/listed"
    echo checksums.txt
  } >"$WORK/needed"
  # Of a dry run nothing stays; else a place that the next command finds and clears.
  if [ -n "$DRY" ]; then ub_into=$WORK/incoming; else ub_into=$HOME_DIR/incoming; fi
  ub_need=$(($(bundle_mib) + 16))
  [ ! -e "$BASE" ] || ub_need=$((ub_need + $(du -sLk "$BASE" | cut -f 1) / 1024))
  ub_free=$(free_mib "$ub_into")
  if [ "$ub_free" -lt "$ub_need" ]; then
    die 5 "too little space to unpack the bundle" "$ub_into" "$ub_need MiB" "$ub_free MiB" \
      "free some, or extract it elsewhere and give the folder"
  fi
  [ -z "$BASE_DIGEST" ] || find_base "$ub_into.base"
  step "unpack $RELEASE"
  rm -rf "$ub_into"
  mkdir -p "$ub_into/images" || die 1 "the data folder cannot be written" "$HOME_DIR"
  bundle_tar -xf -C "$ub_into" 2>"$WORK/tar" ||
    die 5 "the bundle cannot be unpacked" "$RELEASE" "" "$(head -n 1 "$WORK/tar")" "free some space, then run this again"
  rm -f "$ub_into/bundle.json" "$ub_into/oci-layout" "$ub_into/index.json" "$ub_into/manifest.json"
  mkdir -p "$ub_into/blobs/sha256" && mv "$ub_into/blobs" "$ub_into/images/blobs" || die 4 "the bundle holds no images" "$RELEASE"
  [ -z "$BASE_DIR" ] || make_whole "$ub_into"
  RELEASE=$ub_into
}

# Parts are named by FILE.parts.json, which is signed; each is checked before any is read.
take_parts() {
  tp_base=${RELEASE%.parts.json} tp_here=$(dirname "$RELEASE")
  head -c 33554433 "$RELEASE" >"$WORK/parts.json"
  head -c 33554433 "$tp_base.parts.txt" >"$WORK/parts.txt" 2>/dev/null
  head -c 4096 "$tp_base.parts.sig" >"$WORK/parts.sig" 2>/dev/null
  step "check the parts of $tp_base"
  PARTS=''
  [ "$(grep -c "sha256:$(digest_of "$WORK/parts.txt")" "$WORK/parts.json")" = 1 ] ||
    die 4 "the list of parts is not the one that was signed" "$tp_base.parts.txt"
  while read -r tp_digest tp_name; do
    case $tp_name in */* | '') die 4 "a part's name leads elsewhere" "$tp_base.parts.txt" "" "$tp_name" ;; esac
    if [ ! -f "$tp_here/$tp_name" ]; then
      finding 4 "a part is missing" "$tp_here/$tp_name" "" "" "bring the medium that it is on"
    elif [ "$(digest_of "$tp_here/$tp_name")" != "$tp_digest" ]; then
      finding 4 "a part is not the one that was signed" "$tp_here/$tp_name" "$tp_digest"
    fi
    PARTS="$PARTS${PARTS:+$TAB}$tp_here/$tp_name"
  done <"$WORK/parts.txt"
  [ "$RESULT" = 0 ] || leave "$RESULT"
}
