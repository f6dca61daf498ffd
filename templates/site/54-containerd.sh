# ── containerd alone ──────────────────────────────────────────────────────────────────────────────
# By `ctr`, which every containerd brings. It makes no networks, so a server has none at all: it sees
# the loopback of its own namespace, and a launcher (launcher.py) carries its callers in from a socket
# file in run/sockets, where the door finds it. The door itself stands on the machine's network and
# holds the one port. containerd's own restart monitor starts both again, after a reboot as well.

CTR_SPACE=packager
CTR_ROOT=/var/lib/containerd

ctr_() { ctr --namespace "$CTR_SPACE" "$@"; }

by_tasks() {
  case $1-${2:-} in
    version-*) ctr version | sed -n '/^Server/,$s/^ *Version: *v\{0,1\}//p' | head -n 1 | grep . ;;
    info-*) echo "$CTR_ROOT" ;;
    # Whose blobs are missing or wrong is refused there; each layer is held against its diff_id.
    load-*) ctr_ images import - ;;
    image-inspect)
      eval "bk_name=\${$#}"
      bk_digest=$(ctr_ images ls "name==$bk_name" 2>/dev/null | awk -v n="$bk_name" '$1 == n { print $3 }')
      [ -n "$bk_name" ] && [ -n "$bk_digest" ] && echo "$bk_digest"
      ;;
    rmi-*)
      eval "bk_name=\${$#}"
      [ -n "$bk_name" ] && ctr_ images rm --sync "$bk_name"
      ;;
    inspect-*)
      eval "bk_name=\${$#}"
      case "$*" in
        *State.Running*) if [ -n "$(ctr_process "$bk_name")" ]; then echo true; else echo false; fi ;;
        *'"dev.packager.'*)
          bk_label="$*"
          bk_label=${bk_label#*\"}
          bk_label=${bk_label%%\"*}
          ctr_ containers info "$bk_name" | sed -n "s/^ *\"$bk_label\": \"\(.*\)\",\{0,1\}\$/\1/p" | head -n 1
          ;;
        *) ctr_ containers info "$bk_name" ;;
      esac
      ;;
    start-*)
      if [ -z "$(ctr_process "$2")" ]; then
        ctr_unwatched "$2"
        ctr_ tasks rm "$2" >/dev/null 2>&1
        ctr_ tasks start --detach --null-io "$2" || return 1
      fi
      ctr_watched "$2"
      ;;
    stop-*) ctr_stop "$4" "$3" ;;
    rm-*)
      ctr_ containers info "$3" >/dev/null 2>&1 || return 0
      ctr_stop "$3" 0
      ctr_ containers rm "$3"
      rm -rf "${RUN_DIR:?}/sockets/$3"
      ;;
    ps-*) ctr_ containers ls --quiet "labels.\"dev.packager.site\"==$R_NAME" ;;
    exec-*)
      bk_name=$2
      shift 2
      ctr_ tasks exec --exec-id "status-$$" "$bk_name" "$@"
      ;;
    logs-*) tail -n "$3" "$RUN_DIR/sockets/$4/log" ;;
    network-*) return 0 ;;
    *) return 1 ;;
  esac
}

# The names of an image are searched by what it is.
ctr_image() { ctr_ images ls --quiet "target.digest==sha256:$1" 2>/dev/null | head -n 1; }

# The number of a container's process; nothing when none runs.
ctr_process() { ctr_ tasks ls 2>/dev/null | awk -v n="$1" '$1 == n && $3 == "RUNNING" { print $2 }'; }

# Whether the process is the one that was seen first.
same_process() {
  sp_now=$(ctr_process "$1")
  [ -n "$sp_now" ] || return 1
  [ -f "$WORK/process.$1" ] || echo "$sp_now" >"$WORK/process.$1"
  [ "$(cat "$WORK/process.$1")" = "$sp_now" ]
}

# The monitor minds what bears this label, and nothing else. It starts what it finds without a process,
# and ends the one that somebody is just starting there: so the label comes after the process, and goes before.
ctr_watched() { ctr_ containers label "$1" containerd.io/restart.status=running; }
ctr_unwatched() { ctr_ containers label "$1" containerd.io/restart.status= >/dev/null 2>&1; }

# What a killed command started and did not come to tell the monitor of.
tasks_are_watched() {
  ctr_watched "$S_serving" >/dev/null 2>&1
  ctr_watched "$DOOR" >/dev/null 2>&1
}

# ctr_stop NAME SECONDS
ctr_stop() {
  ctr_unwatched "$1"
  cs_left=$(($2 * 5))
  [ "$2" = 0 ] || ctr_ tasks kill "$1" 2>/dev/null
  while [ "$cs_left" -gt 0 ] && [ -n "$(ctr_process "$1")" ]; do
    cs_left=$((cs_left - 1))
    sleep 0.2 2>/dev/null || sleep 1
  done
  ctr_ tasks rm --force "$1" 2>/dev/null || return 0
}

# What `ctr run` leaves in place by default goes; NoNewPrivileges is its default.
CTR_HARDENING='--user 65532:65532 --read-only --seccomp --cap-drop CAP_CHOWN --cap-drop CAP_DAC_OVERRIDE
  --cap-drop CAP_FSETID --cap-drop CAP_FOWNER --cap-drop CAP_MKNOD --cap-drop CAP_NET_RAW --cap-drop CAP_SETGID
  --cap-drop CAP_SETUID --cap-drop CAP_SETFCAP --cap-drop CAP_SETPCAP --cap-drop CAP_NET_BIND_SERVICE
  --cap-drop CAP_SYS_CHROOT --cap-drop CAP_KILL --cap-drop CAP_AUDIT_WRITE'
CTR_RESTART='--label containerd.io/restart.policy=always'

ctr_mount() { echo "type=bind,src=$1,dst=$2,options=rbind:$3"; }

task_door() {
  mkdir -p "$RUN_DIR/sockets" && chmod 755 "$RUN_DIR/sockets" || die 1 "the data folder cannot be written" "$RUN_DIR"
  # shellcheck disable=SC2086 # lists of words
  ctr_ run --detach --null-io --net-host $CTR_HARDENING $CTR_RESTART --memory-limit 268435456 \
    --label "$LABEL" --label "dev.packager.listen=$SITE_listen" --label "dev.packager.reads=$(reads)" \
    --label dev.packager.grpc=1 \
    --mount "$(ctr_mount "$RUN_DIR" /run/packager ro)" "$IMAGE" "$DOOR" \
    "$R_PYTHON" -I -c "$(door_program)" /run/packager/state "$SITE_listen" "$R_PORT,$R_GRPC_PORT" "$R_DRAIN" /run/packager/sockets \
    >"$WORK/said" 2>&1 && ctr_watched "$DOOR" >/dev/null 2>&1 || door_closed
}

task_server() {
  ts_place=$RUN_DIR/sockets/$SLOT
  rm -rf "$ts_place"
  mkdir -p "$ts_place" && chown 65532:65532 "$ts_place" && chmod 711 "$ts_place" || return 1
  ctr_devices >"$WORK/devices" || return 1
  ts_ifs=$IFS
  set -f
  IFS=,
  # shellcheck disable=SC2086 # JSON strings without a backslash or comma in them
  set -- $R_ENTRYPOINT
  IFS=$ts_ifs
  set +f
  for ts_word in "$@"; do
    shift
    ts_word=${ts_word#\"}
    set -- "$@" "${ts_word%\"}"
  done
  [ $# -gt 0 ] || { echo "the image says not what it runs" >&2; return 1; }
  # shellcheck disable=SC2046,SC2086 # lists of words
  ctr_ run --detach --null-io $CTR_HARDENING $CTR_RESTART $(cat "$WORK/devices") \
    --memory-limit "$((R_MEMORY_MIB * 1048576))" --label "$LABEL" --label dev.packager.slot="$SLOT" \
    --mount "type=tmpfs,src=tmpfs,dst=/tmp,options=size=${R_TMP_MIB}m:mode=1777:noexec:nosuid:nodev" \
    --mount "$(ctr_mount "$ts_place" /run/packager rw)" --env "PACKAGER_REGION=$SITE_region" "$IMAGE" "$SLOT" \
    "$R_PYTHON" -I -c "$(launcher_program)" /run/packager "$R_PORT${R_GRPC:+,$R_GRPC_PORT}" "$@" &&
    ctr_watched "$SLOT"
}

task_probe() {
  # shellcheck disable=SC2086 # lists of words
  ctr_ run --rm --net-host $CTR_HARDENING --memory-limit 536870912 --label "$LABEL" --env OPENBLAS_NUM_THREADS=1 \
    --mount "$(ctr_mount "$RUN_DIR" /run/packager ro)" "$IMAGE" "$PROBE" \
    "$R_PYTHON" -I -c "$(selftest_program)" "$1" "$ASK_HOST" "$LISTEN_PORT" "$2" "$3" "${4:-0}"
}

ctr_devices() {
  for cd_name in $R_NVIDIA_DEVICES; do printf -- '--gpus %s ' "$cd_name"; done
  [ -n "$R_NVIDIA_DEVICES" ] || for cd_name in $R_DEVICE_NODES; do printf -- '--device %s ' "$cd_name"; done
}

# What ctr cannot do is said before anything is begun.
fits_containerd() {
  if [ "$(id -u)" != 0 ]; then
    missed 3 engine "containerd is run by root alone here" "root" "user $(id -u)" "run this as root, or use podman"
  fi
  if [ -n "$R_DEVICE_GROUP" ] && [ -n "$R_DEVICE_NODES" ] && [ -z "$R_NVIDIA_DEVICES" ]; then
    missed 3 engine "ctr cannot put a server into the group of its device" "docker, podman or quadlet for $R_PRODUCT" containerd \
      "set engine in the site profile"
  fi
  fc_least=$(cat "$PROC/sys/net/ipv4/ip_unprivileged_port_start" 2>/dev/null || echo 1024)
  if [ "$LISTEN_PORT" -lt "$fc_least" ]; then
    missed 3 port "the door may not hold so low a port" "$fc_least or higher" "$LISTEN_PORT" \
      "change listen in the site profile, or net.ipv4.ip_unprivileged_port_start"
  fi
}
