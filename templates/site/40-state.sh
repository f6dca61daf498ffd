# ── state ─────────────────────────────────────────────────────────────────────────────────────────
# One small file says which version is in service, and the door reads the very same file: replacing
# it is the switch. It is written beside, synced, and renamed; the folder is synced as well. A slot
# is an installed version: `slot=NAME VERSION RELEASE_DIGEST TARGET IMAGE ORDER`.

STATE_FORMAT=packager-site/v1

set_paths() {
  HOME_DIR=$SITE_data/$R_NAME
  RUN_DIR=$HOME_DIR/run
  STATE=$RUN_DIR/state
}

load_state() {
  S_serial=0 S_release='' S_engine='' S_listen='' S_newest='' S_counter='' S_serving='' S_candidate=''
  S_fallback='' S_record='' S_slots=''
  ls_file=$STATE
  if ! sound "$ls_file"; then
    [ -e "$STATE" ] || [ -e "$STATE.1" ] || return 0
    # Written by the same rule one step earlier, so at worst it tells of the step before.
    ls_file=$STATE.1
    sound "$ls_file" || die 1 "the site's state file is damaged, and so is the one before it" "$STATE" "" "" \
      "nothing was changed; restore $STATE from a backup, or remove it and install again"
    note "the state file was damaged; the one before it is used"
  fi
  while IFS='=' read -r ls_key ls_value; do
    case $ls_key in
      serial | release | engine | listen | newest | counter | serving | candidate | fallback | record)
        eval "S_$ls_key=\$ls_value" ;;
      slot) S_slots="$S_slots$ls_value
" ;;
    esac
  done <"$ls_file"
}

# sound FILE: whether it is whole; its last line is the digest of those before it.
sound() {
  [ -f "$1" ] || return 1
  [ "$(head -n 1 "$1")" = "format=$STATE_FORMAT" ] || return 1
  [ "$(sed '$d' "$1" | sha256sum | cut -d ' ' -f 1)" = "$(sed -n '$s/^sum=//p' "$1")" ]
}

save_state() {
  S_serial=$((S_serial + 1))
  mkdir -p "$RUN_DIR" || die 1 "the data folder cannot be made" "$RUN_DIR"
  if {
    printf 'format=%s\nserial=%s\nrelease=%s\nengine=%s\nlisten=%s\nnewest=%s\ncounter=%s\n' \
      "$STATE_FORMAT" "$S_serial" "$R_NAME" "$SITE_engine" "$SITE_listen" "$S_newest" "$S_counter"
    printf 'serving=%s\ncandidate=%s\nfallback=%s\nrecord=%s\n' \
      "$S_serving" "$S_candidate" "$S_fallback" "$S_record"
    printf %s "$S_slots" | sed 's/^/slot=/'
  } >"$STATE.new" && echo "sum=$(digest_of "$STATE.new")" >>"$STATE.new" && durable "$STATE.new"; then
    :
  else
    rm -f "$STATE.new"
    die 1 "the state cannot be written" "$STATE" "" "" "nothing was switched; free some space, then run this again"
  fi
  [ ! -e "$STATE" ] || ln -f "$STATE" "$STATE.1" 2>/dev/null || cp "$STATE" "$STATE.1" 2>/dev/null
  mv -f "$STATE.new" "$STATE" || die 1 "the state cannot be replaced" "$STATE"
  durable "$RUN_DIR"
}

# durable PATH: on the disk, not only in memory. Where sync takes no path, everything is synced.
durable() {
  chmod go+rX "$1" 2>/dev/null
  sync "$1" 2>/dev/null || sync
}

slot_line() { printf %s "$S_slots" | grep "^$1 "; }

# slot_field SLOT NUMBER
slot_field() { slot_line "$1" | cut -d ' ' -f "$2"; }

forget_slot() {
  S_slots=$(printf %s "$S_slots" | grep -v "^$1 ")
  [ -z "$S_slots" ] || S_slots="$S_slots
"
}

remember_slot() {
  rm_last=$(printf %s "$S_slots" | cut -d ' ' -f 6 | sort -n | tail -n 1)
  forget_slot "$SLOT"
  S_slots="$S_slots$SLOT $R_VERSION $RELEASE_DIGEST $R_TARGET $IMAGE_ID $((${rm_last:-0} + 1))
"
}

# The lock is a link that names its holder; one whose holder is gone is nobody's.
lock() {
  mkdir -p "$HOME_DIR" 2>/dev/null || die 1 "the data folder cannot be made" "$HOME_DIR" "" "" \
    "run this as a user who may write there, or name another folder in the site profile (data)"
  lk_me="$$:$(started $$)"
  while ! ln -s "$lk_me" "$HOME_DIR/lock" 2>/dev/null; do
    lk_other=$(ls -l "$HOME_DIR/lock" 2>/dev/null | sed 's/.* -> //')
    [ -n "$lk_other" ] || [ -w "$HOME_DIR" ] || die 1 "the data folder cannot be written" "$HOME_DIR" "" "" \
      "run this as a user who may write there"
    lk_began=$(started "${lk_other%%:*}")
    if [ -n "$lk_began" ] && [ "$lk_began" = "${lk_other#*:}" ]; then
      die 5 "another command is at work here" "$HOME_DIR/lock" "" "process ${lk_other%%:*}" "wait for its end, then run this again"
    fi
    mv "$HOME_DIR/lock" "$WORK/lock.stale" 2>/dev/null && rm -f "$WORK/lock.stale"
    [ -n "$lk_other" ] || sleep 1
  done
  LOCKED=1
}

unlock() {
  [ -z "${LOCKED:-}" ] || rm -f "$HOME_DIR/lock"
  LOCKED=''
}

# When a process began, in clock ticks since the machine started; empty when there is none.
started() {
  [ -n "$1" ] && [ -r "/proc/$1/stat" ] || return 0
  st_text=$(cat "/proc/$1/stat" 2>/dev/null)
  st_text=${st_text##*) }
  case $st_text in Z* | X*) return 0 ;; esac # dead, and only not yet buried
  # shellcheck disable=SC2086 # fields
  set -- $st_text
  echo "${20:-}"
}
