# ── commands ──────────────────────────────────────────────────────────────────────────────────────

do_install() {
  if [ -n "$DRY" ]; then
    load_state
    verify_release
    SLOT=$(slot_of "$RELEASE_DIGEST")
    preflight
    echo "$R_NAME $R_VERSION would be installed; nothing was changed"
    return 0
  fi
  lock
  load_state
  adopt_record
  RECORDING=install
  verify_release
  SLOT=$(slot_of "$RELEASE_DIGEST")
  need_engine
  reconcile
  if [ "$SLOT" = "$S_serving" ] && find_image; then
    RECORDING=''
    keep_installer
    echo "$R_NAME $R_VERSION is installed and in service already"
    return 0
  fi
  preflight
  load_image
  write_slot
  [ "$SITE_engine" != kubernetes ] || write_manifests
  keep_stock
  # After a power cut the operator looks for it here, from the first switch on.
  [ -f "$HOME_DIR/install.sh" ] || keep_installer
  activate fresh
  keep_installer
  record 'done' ''
  echo "$R_NAME $R_VERSION is in service on $(served_at); the record is $RECORD"
}

# Where callers come in: the door has one port for all, a Service one for each protocol.
served_at() {
  case $SITE_engine-${R_GRPC:-} in
    *-) echo "$SITE_listen" ;;
    kubernetes-*) echo "$SITE_listen (HTTP) and $ASK_HOST:$R_GRPC_PORT (gRPC)" ;;
    *) echo "$SITE_listen (HTTP and gRPC)" ;;
  esac
}

# What a later command needs of this version, when the stick is gone.
write_slot() {
  ws_file=$HOME_DIR/slots/$SLOT/facts
  if mkdir -p "$HOME_DIR/slots/$SLOT" && { our_facts && printf "R_COUNTER=%s\nR_ENTRYPOINT='%s'\n" "$R_COUNTER" "$R_ENTRYPOINT"; } >"$ws_file.new" && durable "$ws_file.new" &&
    mv -f "$ws_file.new" "$ws_file"; then
    durable "$HOME_DIR/slots/$SLOT"
  else
    die 1 "the data folder cannot be written" "$HOME_DIR/slots" "" "" "free some space, then run this again"
  fi
}

keep_installer() {
  for ki_pair in "$SELF:install.sh" "$SITE:site.yaml"; do
    ki_from=${ki_pair%:*} ki_to=$HOME_DIR/${ki_pair##*:}
    if ! cmp -s "$ki_from" "$ki_to"; then
      cp "$ki_from" "$ki_to.new" && durable "$ki_to.new" && mv -f "$ki_to.new" "$ki_to" && durable "$HOME_DIR"
    fi
  done
}

# A power cut between a record and the state that names it leaves the record one step ahead.
adopt_record() {
  ar_file=$HOME_DIR/history/$(printf %06d "$(last_record)").json
  [ -f "$ar_file" ] || return 0
  ar_digest=$(digest_of "$ar_file")
  if [ "$ar_digest" != "$S_record" ] && [ "$(field "$ar_file" previous)" = "$S_record" ]; then
    S_record=$ar_digest
    save_state
  fi
}

need_state() {
  load_state
  if [ -z "$S_serving$S_slots" ]; then
    die 1 "$R_NAME is not installed here" "$HOME_DIR" "" "" "install it first"
  fi
}

do_rollback() {
  lock
  need_state
  adopt_record
  need_engine
  reconcile
  if [ -n "$TO" ]; then
    rb_slot=$(printf %s "$S_slots" | grep -F " $TO " | cut -d ' ' -f 1,2 | sed -n "s/ $TO\$//p" | head -n 1)
  else
    rb_here=$(slot_field "$S_serving" 6)
    rb_slot=$(printf %s "$S_slots" | sort -t ' ' -k 6,6nr | while read -r rb_line; do
      [ "${rb_line##* }" -ge "${rb_here:-999999}" ] || { echo "${rb_line%% *}"; break; }
    done)
  fi
  if [ -z "$rb_slot" ]; then
    die 1 "there is no version to go back to" "$HOME_DIR" "${TO:-one older than $(slot_field "$S_serving" 2)}" \
      "$(printf %s "$S_slots" | cut -d ' ' -f 2 | tr '\n' ' ')" "see: status"
  fi
  use_slot "$rb_slot"
  if [ "$SLOT" = "$S_serving" ]; then
    echo "$R_NAME $R_VERSION is in service already"
    return 0
  fi
  if [ -n "$DRY" ]; then
    echo "$R_NAME $R_VERSION would be in service again; nothing was changed"
    return 0
  fi
  RECORDING=rollback
  [ "$SITE_engine" = kubernetes ] || quietly image inspect "$IMAGE" || die 1 "the version's image is gone from the engine" "$IMAGE" "" "" \
    "install its release again"
  activate kept
  record 'done' ''
  echo "$R_NAME $R_VERSION is in service on $(served_at) again; the record is $RECORD"
}

# Puts in order what a power cut left, and nothing else: for a unit that runs at boot.
do_resume() {
  lock
  need_state
  adopt_record
  need_engine
  reconcile
  echo "$R_NAME $(slot_field "$S_serving" 2) is in service on $SITE_listen"
}

do_status() {
  load_state
  engine_answers || ENGINE_VERSION=''
  ds_answers='' ds_door=stopped ds_ready=false
  if [ -z "$ENGINE_VERSION" ]; then ds_door="unknown: $SITE_engine does not answer"; fi
  if [ "$SITE_engine" = kubernetes ]; then
    cluster_status
  elif running "$DOOR"; then
    ds_door=open
    # The answer of whoever is in service, asked at the door itself.
    case $SITE_engine in containerd) ds_where=$ASK_HOST:$LISTEN_PORT ;; *) ds_where=127.0.0.1:$R_PORT ;; esac
    ds_answers=$(engine exec "$DOOR" "$R_PYTHON" -I -c "$STATUS_PROGRAM" "$ds_where" 2>/dev/null)
    # An engine that cannot enter a container can start one beside it.
    if [ -z "$ds_answers" ] && [ -n "$S_serving" ]; then
      ds_answers=$(use_slot "$S_serving" && probe test "" 1 running && echo ready || echo "$SELFTEST")
    fi
    [ "$ds_answers" != ready ] || ds_ready=true
  fi
  if [ -n "$JSON" ]; then
    printf '{"candidate":%s,"door":%s,"engine":%s,"fallback":%s,"listen":%s,"newest":%s,"ready":%s,"release":%s,"serving":%s,"site":%s,"slots":[' \
      "$(json "$S_candidate")" "$(json "$ds_door")" "$(json "$SITE_engine $ENGINE_VERSION")" "$(json "$S_fallback")" \
      "$(json "$SITE_listen")" "$(json "$S_newest")" "$ds_ready" "$(json "$R_NAME")" \
      "$(json "$(slot_field "$S_serving" 2)")" "$(json "$SITE_name")"
  else
    echo "$R_NAME at $SITE_name: $([ -n "$S_serving" ] && echo "$(slot_field "$S_serving" 2) in service" || echo "nothing in service")"
    echo "  door     $ds_door on $SITE_listen, $([ $ds_ready = true ] && echo "the server is ready" || echo "NOT ready: ${ds_answers:-no answer}")"
    echo "  engine   $SITE_engine $ENGINE_VERSION"
    [ -z "$S_candidate" ] || echo "  a command is about to start $S_candidate, or was killed before its switch"
    [ -z "$S_fallback" ] || echo "  the version in service is being watched; $(slot_field "$S_fallback" 2) stands by"
    printf '  %-10s  %-10s  %-9s  %s\n' version state container release
  fi
  ds_comma=''
  for ds_slot in $(printf %s "$S_slots" | cut -d ' ' -f 1); do
    ds_state=kept
    [ "$ds_slot" != "$S_serving" ] || ds_state=serving
    [ "$ds_slot" != "$S_fallback" ] || ds_state='standing by'
    if running "$ds_slot"; then ds_container=running; elif stopped "$ds_slot"; then ds_container=stopped; else ds_container=gone; fi
    if [ -n "$JSON" ]; then
      printf '%s{"container":%s,"digest":%s,"image":%s,"name":%s,"state":%s,"stock":%s,"target":%s,"version":%s}' "$ds_comma" \
        "$(json "$ds_container")" "$(json "$(slot_field "$ds_slot" 3)")" "$(json "$(slot_field "$ds_slot" 5)")" \
        "$(json "$ds_slot")" "$(json "$ds_state")" "$(has_stock "$ds_slot")" "$(json "$(slot_field "$ds_slot" 4)")" "$(json "$(slot_field "$ds_slot" 2)")"
      ds_comma=,
    else
      printf '  %-10s  %-10s  %-9s  %.12s\n' "$(slot_field "$ds_slot" 2)" "$ds_state" "$ds_container" "$(slot_field "$ds_slot" 3)"
    fi
  done
  [ -z "$JSON" ] || printf '],"time":%s}\n' "$(json "$(now)")"
  [ $ds_ready = true ] || leave 1
}

# Whether a version can be started again. Quadlet's containers go when they stop; the image stays.
stopped() {
  exists "$1" || { [ "$SITE_engine" = quadlet ] && podman image exists "$(slot_field "$1" 5)"; }
}

# Whether the files of a version are here, for a delta to stand on.
has_stock() { if [ -f "$HOME_DIR/slots/$1/release/release.json" ]; then echo true; else echo false; fi; }

STATUS_PROGRAM='
import sys, urllib.request, urllib.error
try:
    urllib.request.urlopen(f"http://{sys.argv[1]}/v2/health/ready", timeout=15)
    print("ready")
except urllib.error.HTTPError as error:
    print(f"HTTP {error.code}")
except OSError as error:
    print(error)
'

# Versions, door and networks go. What stays is the history and the newest version's number, so that
# an old release is refused afterwards as well; --purge removes these too.
do_uninstall() {
  lock
  load_state
  adopt_record
  need_engine
  if [ -n "$DRY" ]; then
    echo "$R_NAME would be removed from $SITE_engine; nothing was changed"
    return 0
  fi
  RECORDING=uninstall
  step "remove $R_NAME"
  un_slots=$S_slots
  S_serving='' S_candidate='' S_fallback=''
  save_state
  quietly stop --time 15 "$DOOR"
  for un_name in $(our_containers); do
    quietly rm -f "$un_name"
  done
  S_slots=''
  save_state
  for un_image in $(printf %s "$un_slots" | cut -d ' ' -f 5 | sort -u); do
    quietly rmi -f "$(image_name "$un_image")"
  done
  [ "$SITE_engine" != kubernetes ] || close_cluster
  quietly network rm "$INSIDE"
  quietly network rm "$DOOR"
  rm -rf "$HOME_DIR/slots"
  record 'done' ''
  if [ -n "$PURGE" ]; then
    unlock
    rm -rf "${HOME_DIR:?}"
  fi
  echo "$R_NAME is removed${PURGE:+, its history too}"
}

usage() {
  cat <<USAGE
Installs $R_NAME $R_VERSION for $R_TARGET on this machine, with no network.

  sh $0 install   --key KEY --site site.yaml [--dry-run] [--operator NAME] [--base OLD] [RELEASE_DIR | BUNDLE | DELTA | FILE.parts.json]
  sh $0 rollback  --site site.yaml [--to VERSION] [--dry-run]
  sh $0 status    --site site.yaml [--json]
  sh $0 history   --site site.yaml
  sh $0 resume    --site site.yaml        after a power cut: what should run, runs
  sh $0 uninstall --site site.yaml [--purge] [--dry-run]
$(usage_encrypted)
Exit codes: 0 done · 1 failed · 2 usage · 3 refused by policy · 4 verification failed · 5 unavailable.
USAGE
}

# Said only where it matters.
usage_encrypted() {
  [ -z "${R_ENCRYPTED:-}" ] || cat <<USAGE

The model is encrypted: install takes --decryption-key FILE with podman, or --plain FOLDER, which
'packager decrypt' makes where the key is.

USAGE
}

usage_error() {
  usage >&2
  finding 2 "$1"
  exit 2
}

main() {
  COMMAND=${1:-} SITE='' BASE='' KEY='' KEYS='' DRY='' JSON='' TO='' PURGE='' OPERATOR='' PERMITTED='' VERIFIED='' KEY_PRINT='' PARTS='' RELEASE='' WORK='' RECORDING=''
  PLAIN='' PLAIN_MANIFEST='' DECRYPTION_KEY=''
  PROC=${PACKAGER_PROC:-/proc}
  [ $# -gt 0 ] && shift
  while [ $# -gt 0 ]; do
    case $1 in
      # The last three are for a caller that verified the release itself: packager install.
      --key | --site | --base | --to | --operator | --plain | --decryption-key | --permitted | --verified | --signed-by)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        case $1 in
          --key) KEYS="$KEYS${KEYS:+$TAB}$2" ;;
          --site) SITE=$2 ;;
          --base)
            [ -z "$BASE" ] || usage_error "one --base: deltas are installed one after another, oldest first"
            BASE=$2
            ;;
          --to) TO=$2 ;;
          --operator) OPERATOR=$2 ;;
          --plain) PLAIN=$2 ;;
          --decryption-key) DECRYPTION_KEY=$2 ;;
          --permitted) PERMITTED=$2 ;;
          --verified) VERIFIED=$2 ;;
          --signed-by) KEY_PRINT=$2 ;;
        esac
        shift
        ;;
      --rotation | --revocations | --allow-rollback)
        usage_error "$1 needs Python: packager install; without it put the key or the digest into site.yaml (keys, revoked)"
        ;;
      --dry-run) DRY=1 ;;
      --json) JSON=1 ;;
      --purge) PURGE=1 ;;
      -h | --help)
        usage
        exit 0
        ;;
      -*) usage_error "there is no option $1" ;;
      *) PARTS="$PARTS${PARTS:+$TAB}$1" RELEASE=${RELEASE:-$1} ;;
    esac
    shift
  done
  SELF_DIR=$(cd "$(dirname "$0")" && pwd -P)
  SELF=$SELF_DIR/${0##*/}
  [ -n "$SITE" ] || [ ! -f "$SELF_DIR/site.yaml" ] || SITE=$SELF_DIR/site.yaml
  [ -n "$SITE" ] || [ ! -f site.yaml ] || SITE=site.yaml
  case $COMMAND in
    install | rollback | status | history | resume | uninstall) ;;
    help | -h | --help)
      usage
      exit 0
      ;;
    '') usage_error "no command is given" ;;
    *) usage_error "there is no command $COMMAND" ;;
  esac
  [ -n "$SITE" ] || usage_error "no site profile is given: --site site.yaml"
  [ -n "$RELEASE" ] || RELEASE=$(cd "$SELF_DIR/../../../.." && pwd -P)
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/packager-XXXXXX" 2>/dev/null) || die 1 "no scratch folder can be made" "${TMPDIR:-/tmp}" \
    "a folder that can be written, with some room" "" "name one in the environment: TMPDIR=/var/tmp"
  trap 'leave 1' EXIT
  trap 'interrupted 130' INT HUP
  trap 'interrupted 143' TERM
  S_serving='' S_record='' R_COUNTER='' R_ENTRYPOINT=''
  read_site
  set_paths
  set_names
  SLOT=''
  case $COMMAND in
    install) do_install ;;
    rollback) do_rollback ;;
    status) do_status ;;
    history) load_state && show_history ;;
    resume) do_resume ;;
    uninstall) do_uninstall ;;
  esac
  leave 0
}

main "$@"
