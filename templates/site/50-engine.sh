# ── the engine ────────────────────────────────────────────────────────────────────────────────────
# Docker and podman take the same words for nearly everything; where they differ stands here. With
# `quadlet` it is podman whose containers systemd owns (52-quadlet.sh), with `containerd` its own
# ctr (54-containerd.sh), with `kubernetes` a cluster (56-kubernetes.sh): all are asked in the same words.

ENGINE_VERSION='' NOT_HERE=''

engine() {
  case $SITE_engine in
    quadlet) by_units "$@" ;;
    containerd) by_tasks "$@" ;;
    kubernetes) by_cluster "$@" ;;
    *) "$SITE_engine" "$@" ;;
  esac
}
quietly() { engine "$@" >/dev/null 2>&1; }

set_names() {
  INSIDE=packager-$R_NAME-inside
  DOOR=packager-$R_NAME-door
  PROBE=packager-$R_NAME-probe
  LABEL=dev.packager.site=$R_NAME
  [ "$SITE_engine" != kubernetes ] || cluster_names
}

# The slot of a release: the container's name, and its name on the inner network.
slot_of() {
  case $SITE_engine in
    kubernetes) printf '%s-%.12s' "$R_SERVICE" "$1" ;;
    *) printf 'packager-%s-%.12s' "$R_NAME" "$1" ;;
  esac
}

engine_answers() {
  case $SITE_engine in
    docker) ea_ask='{{.Server.Version}}' ;;
    *) ea_ask='{{.Client.Version}}' ;;
  esac
  [ "$SITE_engine" != quadlet ] || systemd_answers || return 1
  ENGINE_VERSION=$(engine version --format "$ea_ask" 2>/dev/null) && [ -n "$ENGINE_VERSION" ]
}

need_engine() {
  [ -z "$ENGINE_VERSION" ] || return 0
  engine_answers && return 0
  die 5 "$SITE_engine does not answer" "this machine" "" \
    "$(engine_says)" "start it, then run this again"
}

# Why it does not answer, in its own words.
engine_says() {
  [ "$SITE_engine" != quadlet ] || systemd_answers || { echo "systemd does not answer: ${SYSTEMD_SAID:-nothing}"; return 0; }
  engine version 2>&1 >/dev/null | tail -n 1 | cut -c 1-200
}

storage_folder() {
  case $SITE_engine in
    docker) engine info --format '{{.DockerRootDir}}' 2>/dev/null ;;
    *) engine info --format '{{.Store.GraphRoot}}' 2>/dev/null ;;
  esac
}

# An image's ID is the digest of its configuration, or of its manifest in a containerd store.
find_image() {
  IMAGE_ID=''
  for fi_id in "$R_CONFIG" "$R_MANIFEST" $PLAIN_MANIFEST; do
    fi_found=$(engine image inspect --format '{{.Id}}' "$(image_name "$fi_id")" 2>/dev/null) || continue
    if [ "${fi_found#sha256:}" = "$fi_id" ]; then
      IMAGE_ID=$fi_id
      return 0
    fi
  done
  return 1
}

# image_name ID: how `run` is told of it, never to be looked up in a registry.
image_name() {
  case $SITE_engine in
    docker) echo "sha256:$1" ;;
    containerd) ctr_image "$1" ;;
    *) echo "$1" ;;
  esac
}

running() { [ "$(engine inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }
# Names of all containers of this release, the door's and a test's among them.
our_containers() { engine ps --all --filter "label=$LABEL" --format '{{.Names}}' 2>/dev/null; }
exists() { quietly inspect --type container "$1"; }

# Running, and never had to be started again by the engine.
steady() {
  case $SITE_engine in
    quadlet) running "$1" && [ "$(systemd show --value --property=NRestarts "$1.service" 2>/dev/null)" = 0 ]; return ;;
    containerd) same_process "$1"; return ;;
    kubernetes) pods_steady "$1"; return ;;
  esac
  [ "$(engine inspect --type container --format '{{.State.Running}} {{.RestartCount}}' "$1" 2>/dev/null)" = "true 0" ]
}

log_options() {
  case $SITE_engine in
    docker) echo "--log-driver local --log-opt max-size=20m --log-opt max-file=5" ;;
    quadlet) echo "--log-driver journald" ;;
    *) echo "--log-driver k8s-file --log-opt max-size=20mb" ;;
  esac
}

# What holds every container of ours: no rights, nothing to write to, no way out, no names outside.
# 192.0.2.1 stands for no host (RFC 5737): older engines pass names on to the host's resolver.
HARDENING='--pull never --user 65532:65532 --read-only --cap-drop ALL --security-opt no-new-privileges
  --ulimit core=0'
NO_NAMES='--dns 192.0.2.1 --dns-opt timeout:1 --dns-opt attempts:1'

# One piece of the accelerator, as packager/render/devices.py names it for each engine.
device_options() {
  case $SITE_engine in
    podman | quadlet) for do_name in $R_PODMAN_DEVICES; do printf -- '--device %s ' "$do_name"; done ;;
    *)
      for do_name in $R_NVIDIA_DEVICES; do printf -- '--gpus device=%s ' "$do_name"; done
      [ -n "$R_NVIDIA_DEVICES" ] || for do_name in $R_DEVICE_NODES; do printf -- '--device %s ' "$do_name"; done
      ;;
  esac
  [ -n "$R_DEVICE_GROUP" ] || return 0
  case $SITE_engine in
    podman | quadlet) echo "--group-add keep-groups" ;;
    *) for do_name in $R_DEVICE_NODES; do
      # The group of the node, or of the nodes in a folder such as /dev/dri.
      ls -lnd "$do_name" "$do_name"/render* 2>/dev/null | sed 's/  */ /g' | cut -d ' ' -f 4
    done | sort -u | sed 's/^/--group-add /' ;;
  esac
}

network_exists() { quietly network inspect "$1"; }

# The server's network has no way out, and the host has no address on it. The door's network is
# where the port is published: nothing on it is masqueraded, so nothing comes back from outside; on
# loopback its gateway is an address that nobody holds.
ensure_networks() {
  [ "$SITE_engine" != containerd ] || return 0 # its servers have none
  if ! network_exists "$INSIDE"; then
    case $SITE_engine in
      docker) set -- --internal -o com.docker.network.bridge.inhibit_ipv4=true ;;
      *) set -- --internal ;;
    esac
    engine network create --label "$LABEL" "$@" "$INSIDE" >/dev/null 2>"$WORK/said" ||
      die 5 "the engine did not make the inner network" "$INSIDE" "" "$(said)"
  fi
  if ! network_exists "$DOOR"; then
    case $SITE_engine-$LISTEN_HOST in
      docker-127.*)
        set -- --subnet "$R_DOOR_SUBNET" --gateway "$R_DOOR_HOST" \
          --aux-address "DefaultGatewayIPv4=$R_DOOR_NOWHERE" \
          -o com.docker.network.bridge.enable_ip_masquerade=false
        ;;
      docker-*) set -- -o com.docker.network.bridge.enable_ip_masquerade=false ;;
      podman-127.* | quadlet-127.*) set -- --opt no_default_route=1 ;;
      *) set -- ;;
    esac
    engine network create --label "$LABEL" "$@" "$DOOR" >/dev/null 2>"$WORK/said" ||
      die 5 "the engine did not make the door's network" "$DOOR" "" "$(said)"
  fi
}

said() { tr '\n' ' ' <"$WORK/said" | cut -c 1-300; }
