# ── history ───────────────────────────────────────────────────────────────────────────────────────
# Every attempt leaves a record: history/NNNNNN.json. Each names the digest of the one before, and
# the state file the digest of the last, so that a record that was changed or removed is noticed.

# check NAME RESULT EXPECTED GOT: what a record tells of a preflight check.
CHECKS=''
check() {
  CHECKS="$CHECKS${CHECKS:+,}{\"check\":$(json "$1"),\"expected\":$(json "$3"),\"got\":$(json "$4"),\"result\":$(json "$2")}"
}

# record RESULT WHY: one record, on the disk before anything goes on.
record() {
  [ -n "$RECORDING" ] || return 0
  rc_verb=$RECORDING RECORDING=''
  mkdir -p "$HOME_DIR/history" 2>/dev/null || return 0
  rc_number=$(($(last_record) + 1))
  RECORD=$HOME_DIR/history/$(printf %06d "$rc_number").json
  if {
    printf '{"apiVersion":"packager/v1","checks":[%s],"engine":%s,"image":%s,"key":%s,"kind":"SiteRecord"' \
      "$CHECKS" "$(json "$SITE_engine ${ENGINE_VERSION:-}")" "$(json "${IMAGE_ID:-}")" "$(json "${KEY_PRINT:-}")"
    printf ',"number":%s,"operator":%s,"previous":%s' "$rc_number" "$(json "$OPERATOR")" "$(json "$S_record")"
    printf ',"release":{"digest":%s,"name":%s,"version":%s}' \
      "$(json "${RELEASE_DIGEST:-}")" "$(json "$R_NAME")" "$(json "$R_VERSION")"
    printf ',"result":%s,"selftest":%s,"serving":%s' "$(json "$1")" "$(json "${SELFTEST:-}")" "$(json "$S_serving")"
    printf ',"site":{"jurisdiction":%s,"name":%s,"owner":%s,"region":%s}' "$(json "$SITE_jurisdiction")" \
      "$(json "$SITE_name")" "$(json "$SITE_owner")" "$(json "$SITE_region")"
    printf ',"target":%s,"time":%s,"verb":%s,"why":%s}\n' \
      "$(json "$R_TARGET")" "$(json "$(now)")" "$(json "$rc_verb")" "$(json "$2")"
  } >"$RECORD.new" 2>/dev/null && durable "$RECORD.new" && mv -f "$RECORD.new" "$RECORD"; then
    :
  else
    rm -f "$RECORD.new"
    note "the record of this could not be written to $HOME_DIR/history"
    return 0
  fi
  if [ -n "$SITE_sign" ]; then
    openssl dgst -sha256 -sign "$SITE_sign" -out "$RECORD.sig" "$RECORD" 2>/dev/null ||
      note "the record could not be signed with $SITE_sign"
  fi
  durable "$HOME_DIR/history"
  S_record=$(digest_of "$RECORD")
  save_state
}

last_record() {
  lr_name=000000.json
  for lr_file in "$HOME_DIR"/history/[0-9][0-9][0-9][0-9][0-9][0-9].json; do
    [ ! -f "$lr_file" ] || lr_name=${lr_file##*/}
  done
  echo $((1${lr_name%.json} - 1000000))
}

field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$1" | head -n 1; }

show_history() {
  sh_before='' sh_number=0
  printf '%-6s  %-20s  %-9s  %-11s  %-12s  %s\n' number time verb result version why
  for sh_file in "$HOME_DIR"/history/[0-9][0-9][0-9][0-9][0-9][0-9].json; do
    [ -f "$sh_file" ] || continue
    sh_number=$((sh_number + 1))
    [ "$(field "$sh_file" previous)" = "$sh_before" ] ||
      finding 4 "the record before this one was changed or removed" "$sh_file"
    sh_before=$(digest_of "$sh_file")
    sh_name=${sh_file##*/}
    printf '%-6s  %-20s  %-9s  %-11s  %-12s  %s\n' "${sh_name%.json}" "$(field "$sh_file" time)" \
      "$(field "$sh_file" verb)" "$(field "$sh_file" result)" "$(field "$sh_file" version)" "$(field "$sh_file" why)"
  done
  [ "$sh_before" = "$S_record" ] || finding 4 "the last record is not the one that the state names" "$HOME_DIR/history"
  [ "$RESULT" = 0 ] || leave "$RESULT"
}
