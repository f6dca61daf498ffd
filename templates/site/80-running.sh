# ── running ───────────────────────────────────────────────────────────────────────────────────────

# The door stands from the first installation to the last. Only another port, or a data folder that
# was made anew (what it reads would be the old one), makes a new one.
ensure_door() {
  mkdir -p "$RUN_DIR" || die 1 "the data folder cannot be made" "$RUN_DIR"
  if [ "$SITE_engine" = kubernetes ]; then
    cluster_door
    return 0
  fi
  if running "$DOOR" && door_fits; then
    return 0
  fi
  ensure_networks
  if exists "$DOOR" && door_fits && quietly start "$DOOR"; then
    return 0
  fi
  step "open the door on $SITE_listen"
  quietly rm -f "$DOOR"
  case $SITE_engine in
    quadlet) unit_door ;;
    containerd) task_door ;;
    *) container_door ;;
  esac
}

door_closed() {
  die 5 "the door does not open" "$SITE_listen" "" "$(said)" "free the port, or change listen in the site profile"
}

container_door() {
  # shellcheck disable=SC2046,SC2086 # lists of words
  set -- --name "$DOOR" --label "$LABEL" --label "dev.packager.listen=$SITE_listen" --label "dev.packager.reads=$(reads)" --label dev.packager.grpc=1 --restart unless-stopped \
    $HARDENING $NO_NAMES $(log_options) --memory 256m --memory-swap 256m --pids-limit 64 \
    --stop-timeout "$R_GRACE" --publish "$SITE_listen:$R_PORT" --volume "$RUN_DIR:/run/packager:ro,z" \
    --entrypoint "$R_PYTHON"
  case $SITE_engine in
    docker) set -- "$@" --network "$DOOR" ;;
    *) set -- "$@" --network "$DOOR" --network "$INSIDE" ;;
  esac
  engine create "$@" "$IMAGE" -I -c "$(door_program)" /run/packager/state "0.0.0.0:$R_PORT" "$R_PORT,$R_GRPC_PORT" "$R_DRAIN" \
    >/dev/null 2>"$WORK/said" || die 5 "the door cannot be made" "$DOOR" "" "$(said)"
  if [ "$SITE_engine" = docker ] && ! engine network connect "$INSIDE" "$DOOR" 2>"$WORK/said"; then
    die 5 "the door cannot be put on the inner network" "$INSIDE" "" "$(said)"
  fi
  engine start "$DOOR" >/dev/null 2>"$WORK/said" || door_closed
}

# A door of before knew HTTP alone; it goes on standing until a release comes that speaks gRPC.
door_fits() {
  [ "$(door_label listen)" = "$SITE_listen" ] && [ "$(door_label reads)" = "$(reads)" ] &&
    { [ -z "${R_GRPC:-}" ] || [ "$(door_label grpc)" = 1 ]; }
}

door_label() {
  engine inspect --type container --format "{{index .Config.Labels \"dev.packager.$1\"}}" "$DOOR" 2>/dev/null
}

# The folder that the door reads, and which one of that name it is.
reads() { echo "$RUN_DIR:$(ls -di "$RUN_DIR" | sed 's/^ *//' | cut -d ' ' -f 1)"; }

# The slot's server beside whatever is running; what is left of an earlier try is replaced.
start_server() {
  if [ "$SLOT" = "$S_serving" ] || [ "$SLOT" = "$S_fallback" ] || [ "$1" = kept ]; then
    running "$SLOT" && return 0
    quietly start "$SLOT" && return 0
  fi
  [ "$SITE_engine" = kubernetes ] || {
    ensure_networks
    quietly rm -f "$SLOT"
  }
  case $SITE_engine in
    kubernetes) cluster_server ;;
    quadlet) unit_server ;;
    containerd) task_server ;;
    *) container_server ;;
  esac >/dev/null 2>"$WORK/said" || die 5 "the engine did not start the server" "$SLOT" "" "$(said)"
}

container_server() {
  # shellcheck disable=SC2046,SC2086 # lists of words
  engine run --detach --name "$SLOT" --label "$LABEL" --label dev.packager.slot="$SLOT" --restart unless-stopped \
    $HARDENING $NO_NAMES $(log_options) $(device_options) --network "$INSIDE" \
    --tmpfs "/tmp:rw,noexec,nosuid,nodev,size=${R_TMP_MIB}m,mode=1777" \
    --memory "${R_MEMORY_MIB}m" --memory-swap "${R_MEMORY_MIB}m" --pids-limit 512 \
    --stop-timeout "$R_GRACE" --env "PACKAGER_REGION=$SITE_region" "$IMAGE"
}

# start_probe MODE SLOT SECONDS [WATCH]: asks through the real port, from a container of the slot's own
# image, in the background; what it tells comes into $WORK/selftest.
start_probe() {
  quietly rm -f "$PROBE"
  : >"$WORK/selftest"
  case $SITE_engine in
    containerd) task_probe "$@" ;;
    kubernetes) cluster_probe "$@" ;;
    *) container_probe "$@" ;;
  esac >"$WORK/selftest" 2>"$WORK/said" &
  PROBE_PID=$!
}

container_probe() {
  # shellcheck disable=SC2086 # lists of words
  engine run --rm --name "$PROBE" --label "$LABEL" $HARDENING --memory 512m --pids-limit 64 --network host \
    --env OPENBLAS_NUM_THREADS=1 --volume "$RUN_DIR:/run/packager:ro,z" --entrypoint "$R_PYTHON" "$IMAGE" \
    -I -c "$(selftest_program)" "$1" "$ASK_HOST" "$LISTEN_PORT" "$2" "$3" "${4:-0}"
}

# probe MODE SLOT SECONDS [running]: one question and its answer; sets SELFTEST to what came out. A
# server that ends meanwhile ends the waiting.
probe() {
  start_probe "$1" "$2" "$3"
  [ "$1" != test ] || await_answer "${4:-steady}" || return 1
  probe_ended
}

# trial SLOT: the self-test of a candidate. Its container stays, and watches the version as soon as
# the state file says that it is in service; what comes of that is for probe_ended.
trial() {
  start_probe both "$1" "$R_START_SECONDS" "$SITE_watch"
  await_answer steady || return 1
  case $(head -n 1 "$WORK/selftest") in
    'tested: '*) SELFTEST=$(sed -n '1s/^tested: //p' "$WORK/selftest" | cut -c 1-300) ;;
    *) probe_ended ;;
  esac
}

# await_answer ALIVE: until the probe told something, or ended, or the server did.
await_answer() {
  aw_turn=0
  while [ ! -s "$WORK/selftest" ] && kill -0 "$PROBE_PID" 2>/dev/null; do
    if [ $((aw_turn % 5)) = 0 ] && ! "$1" "$SLOT"; then
      quietly rm -f "$PROBE"
      wait "$PROBE_PID"
      SELFTEST="the server ended: $(engine logs --tail 3 "$SLOT" 2>&1 | tail -n 1 | cut -c 1-300)"
      return 1
    fi
    aw_turn=$((aw_turn + 1))
    sleep 0.1 2>/dev/null || sleep 1
  done
}

probe_ended() {
  wait "$PROBE_PID"
  pr_status=$?
  PROBE_PID=''
  SELFTEST=$(tail -n 1 "$WORK/selftest" | cut -c 1-300)
  [ -n "$SELFTEST" ] || SELFTEST="the self-test could not run: $(said)"
  return "$pr_status"
}

# The version that it waits for does not come into service, and it would wait on after us.
end_probe() {
  quietly rm -f "$PROBE"
  wait "$PROBE_PID" 2>/dev/null
  PROBE_PID=''
}

stop_server() { # SLOT
  quietly stop --time "${R_GRACE:-15}" "$1"
}

# leave_server SLOT: stopped after callers were led away from it. The door does so with the switch, and
# waits for those that it has; nodes of a cluster learn of a switch one by one.
leave_server() {
  [ "$SITE_engine" != kubernetes ] || callers_left
  stop_server "$1"
}

# A candidate that is not fit, or not wanted any more, goes; a version that was kept stays so.
drop_candidate() {
  quietly rm -f "$PROBE"
  stock_is_kept
  dc_slot=$S_candidate
  S_candidate=''
  save_state
  if [ -n "$(slot_line "$dc_slot")" ]; then
    stop_server "$dc_slot"
  else
    remove_slot "$dc_slot" "${IMAGE_ID:-}"
  fi
}
