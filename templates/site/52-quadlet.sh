# ── podman whose containers systemd owns ──────────────────────────────────────────────────────────
# With `engine: quadlet` the door and each version that runs are Quadlet units: systemd starts them
# at boot, starts them again when they end, and journald has their logs. A unit that is there is one
# that should run; a version that is only kept has its facts (slots/NAME/facts), and no unit. What is
# inside is podman's own container with the very options that `engine: podman` gives it.

SYSTEMD_SAID=''

if [ "$(id -u)" = 0 ]; then
  UNITS=/etc/containers/systemd
else
  UNITS=${XDG_CONFIG_HOME:-$HOME/.config}/containers/systemd
fi

systemd() { if [ "$(id -u)" = 0 ]; then systemctl "$@"; else systemctl --user "$@"; fi; }

systemd_answers() {
  SYSTEMD_SAID=$(systemd show --property=Version 2>&1) && case $SYSTEMD_SAID in Version=?*) ;; *) false ;; esac
}

by_units() {
  case $1 in
    start) systemd start "$2.service" ;;
    stop)
      # stop --time SECONDS NAME: the unit itself says how long it may take.
      rm -f "$UNITS/$4.container"
      systemd stop "$4.service"
      systemd daemon-reload
      ! podman container exists "$4" || podman "$@"
      ;;
    rm)
      [ "$3" = "$PROBE" ] || by_units stop --time 0 "$3"
      podman "$@"
      ;;
    ps)
      podman "$@"
      for bu_unit in "$UNITS/packager-$R_NAME-"*.container; do
        bu_name=${bu_unit##*/} bu_name=${bu_name%.container}
        [ ! -e "$bu_unit" ] || ! grep -qxF "Label=$LABEL" "$bu_unit" || podman container exists "$bu_name" || echo "$bu_name"
      done
      ;;
    *) podman "$@" ;;
  esac
}

# unit_of NAME DESCRIPTION PODMAN_OPTIONS VOLUME EXEC: writes the unit, and has systemd start it.
unit_of() {
  uo_file=$UNITS/$1.container
  mkdir -p "$UNITS" || return 1
  {
    printf '[Unit]\nDescription=%s\n\n[Container]\nImage=%s\nContainerName=%s\nLabel=%s\n' "$2" "$IMAGE" "$1" "$LABEL"
    # shellcheck disable=SC2086 # one line of options
    echo "PodmanArgs="$3
    [ -z "$4" ] || printf 'Volume=%s\n' "$(literal "$4")"
    [ -z "$5" ] || printf 'Exec=%s\n' "$5"
    printf '\n[Service]\nRestart=always\nRestartSec=1\nTimeoutStopSec=%s\n' "$((R_GRACE + 10))"
    printf '\n[Install]\nWantedBy=multi-user.target default.target\n'
  } >"$uo_file.new" && durable "$uo_file.new" && mv -f "$uo_file.new" "$uo_file" && durable "$UNITS" || return 1
  systemd daemon-reload && systemd start "$1.service" && return 0
  journalctl --no-pager --quiet --lines 3 --output cat --unit "$1.service" 2>/dev/null
  by_units stop --time 0 "$1"
  return 1
}

# literal TEXT: as systemd must read it to mean just that.
literal() { printf %s "$1" | sed 's/%/%%/g'; }

# The door's program lies beside the state that it reads: a unit has no room for a program.
unit_door() {
  door_program >"$RUN_DIR/door.py.new" && durable "$RUN_DIR/door.py.new" && mv -f "$RUN_DIR/door.py.new" "$RUN_DIR/door.py" ||
    die 1 "the data folder cannot be written" "$RUN_DIR"
  # The labels hold paths: they are given as one word each.
  unit_of "$DOOR" "The door of $R_NAME at $SITE_listen" \
    "--label dev.packager.listen=$SITE_listen --label dev.packager.grpc=1 --label \"dev.packager.reads=$(literal "$(reads)")\" $HARDENING $NO_NAMES
      $(log_options) --memory 256m --memory-swap 256m --pids-limit 64 --stop-timeout $R_GRACE
      --publish $SITE_listen:$R_PORT --entrypoint $R_PYTHON --network $DOOR --network $INSIDE" \
    "$RUN_DIR:/run/packager:ro,z" \
    "-I /run/packager/door.py /run/packager/state 0.0.0.0:$R_PORT $R_PORT,$R_GRPC_PORT $R_DRAIN" >"$WORK/said" 2>&1 || door_closed
}

unit_server() {
  unit_of "$SLOT" "$R_NAME $R_VERSION for $R_TARGET" \
    "--label dev.packager.slot=$SLOT $HARDENING $NO_NAMES $(log_options) $(device_options) --network $INSIDE
      --tmpfs /tmp:rw,noexec,nosuid,nodev,size=${R_TMP_MIB}m,mode=1777
      --memory ${R_MEMORY_MIB}m --memory-swap ${R_MEMORY_MIB}m --pids-limit 512
      --stop-timeout $R_GRACE --env PACKAGER_REGION=$SITE_region" "" "" 2>&1
}
