# ── verifying ─────────────────────────────────────────────────────────────────────────────────────
# The signature over release.json comes first; it binds checksums.txt, and that binds every file.
# Small files are copied once and only the copies are believed.

UNLISTED='release.json release.sig release.sigstore.json checksums.txt'

fingerprint() { openssl pkey -pubin -in "$1" -outform DER 2>/dev/null | sha256sum | cut -d ' ' -f 1; }

# Sets KEY to a public key that the site trusts and that made the signature.
find_key() {
  if [ -n "$KEY" ]; then
    [ -f "$KEY" ] || die 2 "there is no public key" "$KEY" "" "" "give the file of the key from paper with --key"
  fi
  fk_here=$(dirname "$SITE") fk_trusted=''
  fk_ifs=$IFS
  IFS=,
  for fk_name in $SITE_keys; do
    IFS=$fk_ifs
    fk_name=$(printf %s "$fk_name" | sed "s/^[ \"']*//; s/[ \"']*\$//")
    case $fk_name in '') continue ;; /*) ;; *) fk_name=$fk_here/$fk_name ;; esac
    [ -f "$fk_name" ] || die 2 "a trusted key of the site profile is not there" "$fk_name"
    fk_print=$(fingerprint "$fk_name")
    fk_trusted="$fk_trusted $fk_print"
    if [ -z "$KEY" ] && signed_by "$fk_name"; then KEY=$fk_name; fi
  done
  IFS=$fk_ifs
  [ -n "$KEY" ] || [ -n "$fk_trusted" ] || die 2 "no public key is given" "$SITE: keys" "" "" \
    "give the key from paper with --key, or name it in the site profile (keys: [site.pub])"
  if [ -n "$KEY" ] && [ -n "$fk_trusted" ]; then
    case $fk_trusted in
      *" $(fingerprint "$KEY")"*) ;;
      *) die 3 "the key is none that the site trusts" "$KEY" "one of $SITE: keys" "$(fingerprint "$KEY")" ;;
    esac
  fi
  if [ -z "$KEY" ] || ! signed_by "$KEY"; then
    die 4 "release.json does not carry the signature of a trusted key" "$RELEASE/release.json" \
      "a signature of ${KEY:-a key in $SITE}" "" "do not use this release; get it again from its maker"
  fi
  KEY_PRINT=$(fingerprint "$KEY")
}

signed_by() {
  openssl dgst -sha256 -verify "$1" -signature "$WORK/release.sig" "$WORK/release.json" >/dev/null 2>&1
}

# Copies the root, its signature and its list, from a folder or a bundle; bounded, believed by nobody.
take_root() {
  for tr_name in release.json release.sig checksums.txt; do
    if [ -d "$RELEASE" ]; then
      if [ ! -f "$RELEASE/$tr_name" ] || [ -L "$RELEASE/$tr_name" ]; then
        die 4 "the file is missing" "$RELEASE/$tr_name" "" "" "give the release folder or the bundle"
      fi
      head -c 33554433 "$RELEASE/$tr_name" >"$WORK/$tr_name" 2>/dev/null
    else
      bundle_bytes | tar -xOf - "$tr_name" 2>/dev/null | head -c 33554433 >"$WORK/$tr_name"
    fi
    tr_size=$(wc -c <"$WORK/$tr_name")
    [ "$tr_size" -gt 0 ] || die 4 "the file is missing or cannot be read" "$RELEASE: $tr_name"
    [ "$tr_size" -le 33554432 ] || die 4 "the file is too long" "$RELEASE: $tr_name"
  done
}

bundle_bytes() {
  bb_ifs=$IFS
  IFS=$TAB
  # shellcheck disable=SC2086 # the parts, one a word
  cat -- $PARTS
  IFS=$bb_ifs
}

verify_release() {
  step "verify $RELEASE"
  take_root
  find_key
  vr_bound=$(grep -o '"checksums":{"count":[0-9]*,"digest":"sha256:[0-9a-f]\{64\}","size":[0-9]*}' "$WORK/release.json")
  vr_list=$(digest_of "$WORK/checksums.txt")
  case $vr_bound in
    *:*'"sha256:'"$vr_list"'",'*) ;;
    *) die 4 "release.json does not bind checksums.txt" "$RELEASE/checksums.txt" "$vr_bound" "sha256:$vr_list" ;;
  esac
  RELEASE_DIGEST=$(digest_of "$WORK/release.json")
  vr_own="targets/$R_TARGET/install.sh"
  if ! grep -qxF "$(digest_of "$SELF")  $vr_own" "$WORK/checksums.txt"; then
    die 4 "this installer is not the release's own" "$SELF" "the one in $RELEASE: $vr_own" "" \
      "run the installer that lies in the release"
  fi
  cut -c 67- <"$WORK/checksums.txt" >"$WORK/listed"
  for vr_name in $UNLISTED; do echo "$vr_name"; done >>"$WORK/listed"
  sort -o "$WORK/listed" "$WORK/listed"
  [ -d "$RELEASE" ] || unpack_bundle
  check_world
  check_files
}

# Exactly the signed files: nothing added, missing, linked.
check_world() {
  (cd "$RELEASE" && find . ! -type d ! -type f) >"$WORK/odd" 2>"$WORK/unread"
  (cd "$RELEASE" && find . -type f) 2>>"$WORK/unread" | cut -c 3- | sort >"$WORK/found"
  while IFS= read -r cw_name; do
    finding 4 "neither a file nor a folder" "$RELEASE/$cw_name"
  done <"$WORK/odd"
  if [ -s "$WORK/unread" ]; then
    finding 4 "the release cannot be read" "$RELEASE" "" "$(head -n 1 "$WORK/unread")"
  fi
  if ! cmp -s "$WORK/listed" "$WORK/found"; then
    grep -vxF -f "$WORK/listed" "$WORK/found" | head -n 20 >"$WORK/more"
    grep -vxF -f "$WORK/found" "$WORK/listed" | head -n 20 >"$WORK/less"
    while IFS= read -r cw_name; do
      finding 4 "the release does not list this file" "$RELEASE/$cw_name"
    done <"$WORK/more"
    while IFS= read -r cw_name; do finding 4 "the file is missing" "$RELEASE/$cw_name"; done <"$WORK/less"
    [ "$RESULT" = 4 ] || finding 4 "the files are not those that were signed" "$RELEASE"
  fi
  [ "$RESULT" = 0 ] || leave "$RESULT"
}

check_files() {
  (cd "$RELEASE" && sha256sum -c "$WORK/checksums.txt") >"$WORK/sums" 2>/dev/null
  cf_status=$?
  grep -v ': OK$' "$WORK/sums" | sed 's/: FAILED.*//' | head -n 20 >"$WORK/bad"
  while IFS= read -r cf_name; do
    finding 4 "the file is not what was signed, or cannot be read" "$RELEASE/$cf_name" "" "" \
      "do not use this release; get it again from its maker"
  done <"$WORK/bad"
  [ "$cf_status" = 0 ] || [ "$RESULT" = 4 ] || finding 4 "a file is not what was signed" "$RELEASE"
  [ "$RESULT" = 0 ] || leave "$RESULT"
  note "signed by $KEY_PRINT, $(wc -l <"$WORK/checksums.txt" | tr -d ' ') files are as signed"
}

# A bundle is unpacked only after its list of names was compared with the signed list.
unpack_bundle() {
  bundle_bytes | tar -tf - 2>/dev/null | grep -v '/$' | sed 's|^\./||' >"$WORK/names"
  # The archive also carries what lets engines load it as it is; see docs/bundle.md.
  grep -vxF -f "$WORK/listed" "$WORK/names" >"$WORK/strange"
  if [ -s "$WORK/strange" ]; then
    die 4 "the bundle holds a file that the release does not list" "$RELEASE" "" "$(head -n 1 "$WORK/strange")"
  fi
  ub_need=$(($(bundle_bytes | wc -c) / 1048576 + 16))
  mkdir -p "$HOME_DIR" || die 1 "the data folder cannot be made" "$HOME_DIR"
  ub_free=$(free_mib "$HOME_DIR")
  if [ "$ub_free" -lt "$ub_need" ]; then
    die 5 "too little space to unpack the bundle" "$HOME_DIR" "$ub_need MiB" "$ub_free MiB" \
      "free some, or give the extracted folder"
  fi
  step "unpack $RELEASE"
  rm -rf "$HOME_DIR/incoming"
  mkdir -p "$HOME_DIR/incoming"
  bundle_bytes | tar -xf - -C "$HOME_DIR/incoming" 2>"$WORK/tar" ||
    die 4 "the bundle cannot be unpacked" "$RELEASE" "" "$(head -n 1 "$WORK/tar")"
  RELEASE=$HOME_DIR/incoming
}
