# ── switching ─────────────────────────────────────────────────────────────────────────────────────
# Up to the switch the running version serves and nothing of it was touched. The switch is one
# renamed file. After it the version before keeps running until the new one was watched.

activate() { # fresh | kept
  ensure_door
  step "start $R_VERSION${S_serving:+ beside $(slot_field "$S_serving" 2)}"
  S_candidate=$SLOT
  save_state
  start_server "$1"
  case $SITE_engine in
    kubernetes) step "self-test in its pods" ;;
    *) step "self-test through $ASK_HOST:$LISTEN_PORT" ;;
  esac
  if ! trial "$SLOT"; then
    finding 1 "the self-test failed, and nothing was switched" "$R_NAME $R_VERSION" "" "$SELFTEST" \
      "${S_serving:+the version before goes on serving; }do not use this release here"
    drop_candidate
    leave "$RESULT"
  fi
  note "$SELFTEST"
  stock_is_kept
  S_candidate=''
  if [ "$SLOT" != "$S_serving" ]; then
    step "switch to $R_VERSION"
    S_fallback=$S_serving
    S_serving=$SLOT
    [ "$1" = kept ] || remember_slot
    save_state
    if ! switch_door; then
      finding 5 "the Service cannot be switched" "$DOOR" "" "$(said)" "see what the cluster says, then run this again"
      end_probe
      revert
      leave "$RESULT"
    fi
  fi
  watch_over
}

# Where the door reads the state by itself there is nothing more to do; a Service is told.
switch_door() {
  [ "$SITE_engine" != kubernetes ] || point_door "$S_serving"
}

# Watches the version in service; the one before takes over when it is not fit.
watch_over() {
  step "watch for $SITE_watch s"
  if probe_ended; then
    if steady "$SLOT"; then
      note "$SELFTEST"
      settle
      return 0
    fi
    SELFTEST="its process ended while it was watched, and the engine started it again"
  fi
  finding 1 "the new version did not hold" "$R_NAME $R_VERSION" "" "$SELFTEST" "do not use this release here"
  OUTCOME=rolled-back
  revert
  leave "$RESULT"
}

revert() {
  rv_bad=$S_serving
  if [ -n "$S_fallback" ]; then
    running "$S_fallback" || quietly start "$S_fallback"
    note "back to $(slot_field "$S_fallback" 2)"
  fi
  S_serving=$S_fallback S_fallback=''
  if [ "$SITE_engine" = kubernetes ]; then
    # As long as the Service may lead to it, it goes on, and whoever takes over from us knows of it.
    save_state
    if ! switch_door; then
      note "the Service does not point back yet: $(said); run: sh $SELF resume --site $SITE"
      return 0
    fi
    callers_left
  fi
  if [ "$RECORDING" = install ]; then
    forget_slot "$rv_bad"
    save_state
    remove_slot "$rv_bad" "$IMAGE_ID"
  else
    save_state
    stop_server "$rv_bad"
  fi
}

# The new version has proven itself: the one before is stopped and kept, old ones go.
settle() {
  st_before=$S_fallback
  S_fallback=''
  if [ -z "$S_newest" ] || older "$S_newest" "$R_VERSION"; then S_newest=$R_VERSION; fi
  if [ -n "${R_COUNTER:-}" ] && [ "$R_COUNTER" -gt "${S_counter:-0}" ]; then S_counter=$R_COUNTER; fi
  save_state
  [ -z "$st_before" ] || leave_server "$st_before"
  prune
}

# Beside the version in service, `keep` others stay: the newest.
prune() {
  printf %s "$S_slots" | sort -t ' ' -k 6,6nr | cut -d ' ' -f 1 | grep -vxF "$S_serving" |
    sed "1,${SITE_keep}d" >"$WORK/prune"
  while read -r pn_slot; do
    pn_image=$(slot_field "$pn_slot" 5)
    forget_slot "$pn_slot"
    save_state
    remove_slot "$pn_slot" "$pn_image"
    note "removed $pn_slot; $SITE_keep versions are kept beside the one in service"
  done <"$WORK/prune"
}

# remove_slot SLOT IMAGE: the image stays while another slot needs it, or the door.
remove_slot() {
  quietly rm -f "$1"
  rm -rf "${HOME_DIR:?}/slots/$1"
  if [ -n "$2" ] && ! printf %s "$S_slots" | cut -d ' ' -f 5 | grep -qxF "$2"; then
    quietly rmi "$(image_name "$2")"
  fi
}

# What a killed command or a power cut left behind is put in order before anything else is done.
reconcile() {
  [ "$SITE_engine" != kubernetes ] || own_cluster
  if [ -n "$S_candidate" ]; then
    note "an earlier command ended before its switch; its version is removed"
    rc_slot=$S_candidate
    S_candidate=''
    save_state
    if [ -n "$(slot_line "$rc_slot")" ]; then stop_server "$rc_slot"; else quietly rm -f "$rc_slot"; fi
  fi
  quietly rm -f "$PROBE"
  for rc_slot in $(our_containers); do
    [ "$rc_slot" != "$DOOR" ] && [ -z "$(slot_line "$rc_slot")" ] && quietly rm -f "$rc_slot"
  done
  # Files of a version that never came into service.
  for rc_folder in "$HOME_DIR"/slots/*/; do
    rc_slot=${rc_folder%/}
    [ -n "$(slot_line "${rc_slot##*/}")" ] || rm -rf "$rc_slot"
  done
  [ -z "$S_serving" ] || stand_up
  if [ -n "$S_fallback" ]; then
    note "an earlier command ended while it watched $(slot_field "$S_serving" 2); it is watched again"
    rc_recording=$RECORDING RECORDING=''
    with_slot "$S_serving" finish_watch
    RECORDING=$rc_recording
  else
    for rc_slot in $(printf %s "$S_slots" | cut -d ' ' -f 1); do
      [ "$rc_slot" = "$S_serving" ] || ! running "$rc_slot" || leave_server "$rc_slot"
    done
  fi
}

# The version in service and the door are up, whatever happened to the machine.
stand_up() {
  if ! running "$S_serving" || ! running "$DOOR"; then
    step "bring $(slot_field "$S_serving" 2) up again"
    with_slot "$S_serving" bring_up
  fi
  [ "$SITE_engine" != containerd ] || tasks_are_watched
  if [ "$SITE_engine" = kubernetes ] && [ "$(pointed_to)" != "${S_serving##*-}" ]; then
    note "the Service is pointed to $(slot_field "$S_serving" 2)"
    switch_door || die 5 "the Service cannot be switched" "$DOOR" "" "$(said)" "see what the cluster says, then run this again"
  fi
}

bring_up() {
  ensure_door
  start_server kept
}

# Asked by its name, so that nobody answers for it, and for as long as it would have been watched.
finish_watch() {
  ensure_door
  fw_mode=both
  [ "$SITE_engine" != kubernetes ] || fw_mode='test' # pods that a power cut ended count there as started again
  start_probe "$fw_mode" "$SLOT" "$R_START_SECONDS" "$SITE_watch"
  if await_answer running && probe_ended; then
    note "$SELFTEST"
    settle
  else
    note "it did not hold: $SELFTEST"
    RECORDING=rollback
    revert
    RECORDING=rollback
    record rolled-back "$SELFTEST"
  fi
}

# with_slot SLOT COMMAND…: the command with the facts of an installed version; then ours again.
with_slot() {
  ws_slot=$1
  shift
  our_facts >"$WORK/ours"
  ws_kept="$SLOT|${IMAGE_ID:-}|${IMAGE:-}|${RELEASE_DIGEST:-}"
  ws_counter=${R_COUNTER:-}
  use_slot "$ws_slot"
  "$@"
  # shellcheck source=/dev/null
  . "$WORK/ours"
  SLOT=${ws_kept%%|*} ws_kept=${ws_kept#*|}
  IMAGE_ID=${ws_kept%%|*} ws_kept=${ws_kept#*|}
  IMAGE=${ws_kept%%|*}
  RELEASE_DIGEST=${ws_kept#*|}
  R_COUNTER=$ws_counter
}

use_slot() {
  SLOT=$1
  [ -f "$HOME_DIR/slots/$SLOT/facts" ] || die 1 "what is known of an installed version is gone" "$HOME_DIR/slots/$SLOT/facts" "" "" \
    "install its release again"
  R_COUNTER='' R_ENTRYPOINT='' R_GRPC=''
  # shellcheck source=/dev/null
  . "$HOME_DIR/slots/$SLOT/facts"
  RELEASE_DIGEST=$(slot_field "$SLOT" 3)
  IMAGE_ID=$(slot_field "$SLOT" 5)
  IMAGE=$(image_name "$IMAGE_ID")
}
