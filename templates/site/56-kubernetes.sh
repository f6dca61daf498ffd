# ── a cluster ─────────────────────────────────────────────────────────────────────────────────────
# With `engine: kubernetes` a version is a Deployment of its own, whose name and labels carry the
# slot; the door is the release's Service, and the switch one patch of its selector (ADR 0041). What
# is applied are the release's own signed manifests: images point to the site's registry, by digest,
# and each version's admission policy holds that version's pods alone. The state file says what
# should be so, and the cluster is made to agree. Needs kubectl, which brings kustomize.

# How long the cluster may take, after the switch, until the Service's endpoints are the new pods.
ROUTE_SECONDS=60
# How long pods that were in service go on answering after the endpoints are the new ones alone. Each
# node learns of them by itself, up to 10 s later where its kube-proxy collects changes that long
# (--iptables-min-sync-period), and cannot be asked from here.
LEAVE_SECONDS=15
SLOT_LABEL=packager.dev/slot
SITE_LABEL=packager.dev/site

cluster_names() {
  NAMESPACE=${SITE_namespace:-$R_INSTANCE}
  DOOR=$R_SERVICE
  REPOSITORY=$SITE_registry/$R_SERVICE
  PINNED=$REPOSITORY@sha256:$R_MANIFEST
  SITE_listen=$DOOR.$NAMESPACE.svc:$R_PORT
  ASK_HOST=$DOOR.$NAMESPACE.svc LISTEN_PORT=$R_PORT
}

# kube WORD…: kubectl in the release's namespace, as the profile names the cluster.
kube() {
  kubectl ${SITE_kubeconfig:+--kubeconfig="$SITE_kubeconfig"} ${SITE_context:+--context="$SITE_context"} \
    --namespace="$NAMESPACE" "$@"
}
asked() { kube --request-timeout=20s "$@"; }

by_cluster() {
  eval "bc_name=\${$#}"
  case $1-${2:-} in
    version-*) asked version --output=json | tr -d ' \n' | sed -n 's/.*"serverVersion":{[^}]*"gitVersion":"v\([^"]*\)".*/\1/p' | grep . ;;
    image-inspect) in_registry "$bc_name" && echo "$bc_name" ;;
    # Other clusters may pull from there too.
    rmi-* | network-*) return 0 ;;
    inspect-*)
      case $*-$bc_name in
        *State.Running*-"$DOOR") if [ -n "$(pointed_to)" ]; then echo true; else echo false; fi ;;
        *State.Running*) if [ "$(replicas_of "$bc_name")" -gt 0 ]; then echo true; else echo false; fi ;;
        *-"$DOOR") asked get service "$DOOR" ;;
        *) asked get deployment "$bc_name" ;;
      esac
      ;;
    start-*) scale "$bc_name" ;;
    stop-*) [ "$bc_name" = "$DOOR" ] || asked scale "deployment/$bc_name" --replicas=0 ;;
    rm-*)
      case $bc_name in
        "$PROBE")
          : >"$WORK/probe.stop"
          [ -z "${PROBE_PID:-}" ] || kill "$PROBE_PID"
          ;;
        "$DOOR") asked delete service "$DOOR" --ignore-not-found ;;
        *) remove_version "$bc_name" ;;
      esac
      ;;
    ps-*) asked get deployments --selector="$SITE_LABEL=$R_SERVICE" --output=jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' ;;
    logs-*) why_not "$bc_name" ;;
    *) return 1 ;;
  esac
}

# The slot that the Service points to, by the end of its name; nothing when there is no Service.
pointed_to() { asked get service "$DOOR" --output=jsonpath='{.spec.selector.packager\.dev/slot}' 2>/dev/null; }

replicas_of() {
  ro_count=$(asked get deployment "$1" --output=jsonpath='{.spec.replicas}' 2>/dev/null)
  echo "${ro_count:-0}"
}

# scale SLOT: as many replicas as the version in service has now, and at least what it is made for.
scale() {
  sc_count=$R_REPLICAS
  if [ -n "$S_serving" ] && [ "$1" != "$S_serving" ]; then
    sc_now=$(replicas_of "$S_serving")
    [ "$sc_now" -le "$sc_count" ] || sc_count=$sc_now
  fi
  asked scale "deployment/$1" --replicas="$sc_count"
}

remove_version() {
  asked delete deployments,poddisruptionbudgets,horizontalpodautoscalers --selector="$SLOT_LABEL=${1##*-},$SITE_LABEL=$R_SERVICE" \
    --ignore-not-found --wait=false
  with_admission || return 0
  apply_guard || return 1
  asked delete validatingadmissionpolicybindings,validatingadmissionpolicies \
    --selector="$SLOT_LABEL=${1##*-},$SITE_LABEL=$NAMESPACE" --ignore-not-found --wait=false
}

# ── manifests ─────────────────────────────────────────────────────────────────────────────────────

# The release's manifests as this site applies them, in the slot's folder, for when the stick is gone.
write_manifests() {
  wm_into=$HOME_DIR/slots/$SLOT/manifests wm_made=$WORK/manifests
  rm -rf "$wm_made"
  mkdir -p "$wm_into" "$wm_made/base" || die 1 "the data folder cannot be written" "$wm_into"
  for wm_name in $(sed -n "s|^targets/$R_TARGET/base/\([a-z]*\.yaml\)\$|\1|p" "$WORK/listed"); do
    wm_path=targets/$R_TARGET/base/$wm_name
    cp "$RELEASE/$wm_path" "$wm_made/copy" 2>/dev/null
    # The copy is what is believed; the file may have changed since it was verified.
    grep -qxF "$(digest_of "$wm_made/copy")  $wm_path" "$WORK/checksums.txt" ||
      die 4 "a manifest is not the one that was signed" "$RELEASE/$wm_path"
    for_this_site <"$wm_made/copy" >"$wm_made/base/$wm_name"
  done
  kustomization_of_slot
  kustomization_of_service
  kustomization_of_rest
  for wm_name in slot service rest; do
    kubectl kustomize --load-restrictor=LoadRestrictionsNone "$wm_made/$wm_name" >"$wm_into/$wm_name.yaml.new" 2>"$WORK/said" &&
      durable "$wm_into/$wm_name.yaml.new" && mv -f "$wm_into/$wm_name.yaml.new" "$wm_into/$wm_name.yaml" ||
      die 1 "the release's manifests cannot be made this site's own" "targets/$R_TARGET/base" "kubectl with kustomize 5" "$(said)"
  done
  durable "$wm_into"
}

# Image and namespace are named as this site has them; both stand there as whole words.
for_this_site() {
  ft_image=$(printf %s "$R_IMAGE" | sed 's/\./\\./g')
  sed -e "s|$ft_image|@IMAGE@|g" -e "s|\([ \"]\)$R_INSTANCE\$|\1$NAMESPACE|" \
    -e "s|\([ \"]\)$R_INSTANCE\([^a-z0-9]\)|\1$NAMESPACE\2|g" -e "s|@IMAGE@|$PINNED|g"
}

# resources NAME…: what of the base belongs there.
resources() {
  echo "resources:"
  for rs_name in "$@"; do
    [ ! -f "$wm_made/base/$rs_name.yaml" ] || echo "  - ../base/$rs_name.yaml"
  done
}

renamed() { # KIND NAME TO [MORE]
  printf '  - target: {kind: %s, name: %s}\n    patch: |-\n      - {op: replace, path: /metadata/name, value: %s}\n' "$1" "$2" "$3"
  [ -z "${4:-}" ] || printf '      - %s\n' "$4"
}

dropped() { # KIND NAME
  printf '  - target: {kind: %s, name: %s}\n    patch: |-\n      {$patch: delete, apiVersion: %s, kind: %s, metadata: {name: %s}}\n' \
    "$1" "$2" "$ADMISSION" "$1" "$2"
}

ADMISSION=admissionregistration.k8s.io/v1

# The pods' policy looks at the pods of its own version alone: beside it another may run.
kustomization_of_slot() {
  ks_hex=${SLOT##*-}
  mkdir -p "$wm_made/slot"
  {
    resources deployment poddisruptionbudget horizontalpodautoscaler validatingadmissionpolicy
    printf 'labels:\n  - pairs: {%s: "%s"}\n    includeSelectors: true\n' "$SLOT_LABEL" "$ks_hex"
    printf '  - pairs: {%s: %s}\n' "$SITE_LABEL" "$R_SERVICE"
    echo "patches:"
    renamed Deployment "$R_SERVICE" "$SLOT" "{op: add, path: /spec/replicas, value: $R_REPLICAS}"
    renamed PodDisruptionBudget "$R_SERVICE" "$SLOT"
    [ ! -f "$wm_made/base/horizontalpodautoscaler.yaml" ] ||
      renamed HorizontalPodAutoscaler "$R_SERVICE" "$SLOT" "{op: replace, path: /spec/scaleTargetRef/name, value: $SLOT}"
    for ks_kind in ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding; do
      case $ks_kind in
        *Binding) ks_more="{op: replace, path: /spec/policyName, value: $NAMESPACE-pods-$ks_hex}" ;;
        *) ks_more="{op: add, path: /spec/matchConstraints/objectSelector, value: {matchLabels: {$SLOT_LABEL: \"$ks_hex\"}}}" ;;
      esac
      renamed $ks_kind "$NAMESPACE-pods" "$NAMESPACE-pods-$ks_hex" "$ks_more"
      # Cluster-wide names are told apart by the namespace that they hold for.
      printf '      - {op: add, path: /metadata/labels/%s, value: %s}\n' "$(printf %s "$SITE_LABEL" | sed 's|/|~1|')" "$NAMESPACE"
      dropped $ks_kind "$NAMESPACE-networks"
    done
  } >"$wm_made/slot/kustomization.yaml"
}

kustomization_of_service() {
  mkdir -p "$wm_made/service"
  {
    resources service
    printf 'labels:\n  - pairs: {%s: "%s"}\n    includeSelectors: true\n' "$SLOT_LABEL" "${SLOT##*-}"
  } >"$wm_made/service/kustomization.yaml"
}

# What holds for every version in the namespace, and comes before any pod.
kustomization_of_rest() {
  mkdir -p "$wm_made/rest"
  {
    resources namespace serviceaccount networkpolicy configmap validatingadmissionpolicy
    echo "patches:"
    for kr_kind in ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding; do dropped $kr_kind "$NAMESPACE-pods"; done
  } >"$wm_made/rest/kustomization.yaml"
}

# apply FILE: of the slot's manifests.
apply() { asked apply --filename="$HOME_DIR/slots/$1/manifests/$2.yaml" >/dev/null 2>"$WORK/said"; }

# Whether versions here bring admission policies; templates of a site's own may leave them out.
with_admission() { grep -qsxF "kind: ValidatingAdmissionPolicy" "$HOME_DIR"/slots/*/manifests/slot.yaml; }

# No pod runs in the namespace but those of versions that were installed here.
apply_guard() {
  with_admission || return 0
  ag_slots=''
  for ag_slot in $(printf %s "$S_slots" | cut -d ' ' -f 1) $S_candidate; do
    ag_slots="$ag_slots${ag_slots:+, }\"${ag_slot##*-}\""
  done
  [ -n "$ag_slots" ] || return 0
  cat >"$WORK/guard.yaml" <<GUARD
apiVersion: $ADMISSION
kind: ValidatingAdmissionPolicy
metadata:
  name: $NAMESPACE-slots
  labels: {$SITE_LABEL: $NAMESPACE}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: $NAMESPACE}
    objectSelector:
      matchExpressions:
        - {key: $SLOT_LABEL, operator: NotIn, values: [$ag_slots]}
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [pods, pods/ephemeralcontainers]
  matchConditions:
    - name: changes-the-pod
      expression: 'request.operation == "CREATE" || object.spec != oldObject.spec'
  validations:
    - expression: "false"
      message: only pods of a version that was installed here run in this namespace
      reason: Forbidden
---
apiVersion: $ADMISSION
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: $NAMESPACE-slots
  labels: {$SITE_LABEL: $NAMESPACE}
spec:
  policyName: $NAMESPACE-slots
  validationActions: [Deny]
GUARD
  asked apply --filename="$WORK/guard.yaml" >/dev/null 2>"$WORK/said"
}

# ── running ───────────────────────────────────────────────────────────────────────────────────────

# Before the first version there is a namespace that is closed; the Service comes with the switch.
cluster_door() {
  [ -z "$(pointed_to)" ] || return 0
  step "prepare the namespace $NAMESPACE"
  apply "$SLOT" rest || die 5 "the cluster does not take what holds the namespace" "$NAMESPACE" "" "$(said)" "see what it says, then run this again"
}

cluster_server() {
  apply_guard && apply "$SLOT" slot && scale "$SLOT" >/dev/null 2>"$WORK/said" && return 0
  cat "$WORK/said" >&2
  return 1
}

# point_door SLOT: callers' next connections go there. The last of it is one patch of the Service.
point_door() {
  if [ -z "$1" ]; then
    asked delete service "$DOOR" --ignore-not-found >/dev/null 2>"$WORK/said"
    return
  fi
  rm -f "$WORK/moved"
  apply "$1" rest && apply "$1" service
}

# Pods of the slot, as `NAME ADDRESS DELETED READY`; pods_ready: those that answer, as `NAME ADDRESS`.
pods_of() {
  asked get pods --selector="$SLOT_LABEL=${1##*-}" --output=jsonpath='{range .items[*]}{.metadata.name} {.status.podIP} {.metadata.deletionTimestamp} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null
}
only_ready() { sed -n 's/^\([^ ]*\) \([^ ]*\)  True$/\1 \2/p'; }
pods_ready() { pods_of "$1" | only_ready; }

# No pod was ever started again, and none is kept from starting.
pods_steady() {
  for ps_try in 1 2 3; do
    ps_told=$(asked get pods --selector="$SLOT_LABEL=${1##*-}" \
      --output=jsonpath='{range .items[*].status.containerStatuses[*]}{.restartCount}:{.state.waiting.reason} {end}' 2>/dev/null) || {
      sleep 1
      continue
    }
    case " $ps_told" in
      *' '[1-9]* | *BackOff* | *InvalidImageName* | *CreateContainer*Error* | *RunContainerError*) return 1 ;;
    esac
    return 0
  done
  return 1
}

# Why no pod of a version answers, in the cluster's words: why it is nowhere, what keeps it waiting,
# how it ended; and the last that it said.
why_not() {
  wn_select=$SLOT_LABEL=${1##*-}
  wn_told=$(asked get pods --selector="$wn_select" --output=jsonpath='{range .items[*]}{.status.conditions[?(@.type=="PodScheduled")].message} {.status.containerStatuses[*].state.waiting.message} {.status.containerStatuses[*].lastState.terminated.reason} {.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}' 2>/dev/null |
    sed 's/^ *//; s/ *$//' | grep . | head -n 1)
  wn_log=$(asked logs --selector="$wn_select" --tail=1 --previous 2>/dev/null | head -n 1)
  [ -n "$wn_log" ] || wn_log=$(asked logs --selector="$wn_select" --tail=1 2>/dev/null | head -n 1)
  wn_made=$(asked get replicasets --selector="$wn_select" \
    --output=jsonpath='{.items[*].status.conditions[?(@.type=="ReplicaFailure")].message}' 2>/dev/null)
  [ -n "$wn_told" ] || wn_told=$([ -n "$(pods_ready "$1")" ] && echo "its pods are ready, and the Service does not lead to them" || echo "no pod is there")
  echo "${wn_made:+$wn_made; }$wn_told${wn_log:+; it said: $wn_log}"
}

# cluster_probe MODE SLOT SECONDS [WATCH]: as selftest.py does it elsewhere. The known answers are
# asked for from within each pod at its own address: the namespace has no way out, so that a pod
# beside it could ask nobody.
cluster_probe() {
  trap 'exit 143' TERM # quietly
  rm -f "$WORK/probe.stop"
  cp_slot=${2:-$SLOT}
  cp_said=$(await_pods "$cp_slot" "$R_PROGRESS") && cp_said=$(ask_pods "$cp_slot") || {
    echo "$cp_said"
    return 1
  }
  [ "$1" = both ] || {
    echo "$cp_said"
    return 0
  }
  echo "tested: $cp_said"
  cp_turn=0
  until grep -qxF "serving=$cp_slot" "$STATE" 2>/dev/null; do
    cp_turn=$((cp_turn + 1))
    if [ "$cp_turn" -gt 1200 ] || [ -e "$WORK/probe.stop" ]; then
      echo "it was not switched to"
      return 3
    fi
    sleep 0.1 2>/dev/null || sleep 1
  done
  # A busy cluster takes a while to lead callers to pods that are ready; then the watch begins.
  cp_until=$(($(date +%s) + ROUTE_SECONDS)) cp_refused=0
  until routed "$cp_slot" || [ "$(date +%s)" -ge "$cp_until" ] || [ -z "$(pods_ready "$cp_slot")" ] || ! pods_steady "$cp_slot"; do
    sleep 0.3 2>/dev/null || sleep 1
  done
  cp_until=$(($(date +%s) + ${4:-0}))
  while :; do
    if routed "$cp_slot"; then cp_refused=0; else cp_refused=$((cp_refused + 1)); fi
    # One that ended under its callers comes back, and would end again.
    pods_steady "$cp_slot" || cp_refused=3
    [ "$cp_refused" -lt 3 ] || {
      echo "no longer ready: $(why_not "$cp_slot")"
      return 3
    }
    [ "$(date +%s)" -lt "$cp_until" ] || [ "$cp_refused" != 0 ] || break
    sleep 0.3 2>/dev/null || sleep 1
  done
  ask_pods "$cp_slot"
}

await_pods() {
  ap_until=$(($(date +%s) + $2))
  until [ "$(pods_ready "$1" | grep -c .)" -ge "$R_REPLICAS" ]; do
    if [ "$(date +%s)" -gt "$ap_until" ] || [ -e "$WORK/probe.stop" ]; then
      echo "not ready after $2 s: $(why_not "$1")"
      return 1
    fi
    sleep 0.5 2>/dev/null || sleep 1
  done
}

ask_pods() {
  pods_ready "$1" >"$WORK/pods"
  ask_told="no pod answers" ask_code=1 ask_count=0
  while read -r ask_pod ask_address; do
    ask_told=$(kube exec "$ask_pod" --container=server -- "$R_PYTHON" -I -c "$(selftest_program)" test "$ask_address" "$R_PORT" "" 30 \
      </dev/null 2>"$WORK/exec") && ask_code=0 || ask_code=1
    [ -n "$ask_told" ] || ask_told="it cannot be asked: $(head -n 1 "$WORK/exec" | cut -c 1-120); $(why_not "$1")"
    ask_count=$((ask_count + 1))
    [ $ask_code = 0 ] || break
  done <"$WORK/pods"
  printf '%s\n' "$ask_told" | tail -n 1 | sed "1s/\$/$([ $ask_code != 0 ] || echo ", in $ask_count pods")/"
  return $ask_code
}

# Whether the Service sends callers to this version, and to nobody else, and somebody answers there.
routed() {
  [ "$(pointed_to)" = "${1##*-}" ] || return 1
  pods_of "$1" >"$WORK/routed.pods"
  cut -d ' ' -f 2 "$WORK/routed.pods" | grep . >"$WORK/routed.known"
  only_ready <"$WORK/routed.pods" | cut -d ' ' -f 2 >"$WORK/routed.ready"
  asked get endpointslices --selector="kubernetes.io/service-name=$DOOR" \
    --output=jsonpath='{range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}' 2>/dev/null >"$WORK/routed"
  [ -s "$WORK/routed" ] && grep -qxF -f "$WORK/routed" "$WORK/routed.ready" &&
    ! grep -qvxF -f "$WORK/routed.known" "$WORK/routed" || return 1
  [ -f "$WORK/moved" ] || date +%s >"$WORK/moved"
}

# callers_left: until the Service leads to the version in service alone, and every node had its time to
# learn of it. Before, pods of another version may still be asked, and must not be stopped.
callers_left() {
  [ -n "$S_serving" ] || return 0
  cl_until=$(($(date +%s) + ROUTE_SECONDS))
  until [ -f "$WORK/moved" ] || routed "$S_serving" || [ "$(date +%s)" -ge "$cl_until" ]; do
    sleep 0.3 2>/dev/null || sleep 1
  done
  cl_left=$LEAVE_SECONDS
  [ ! -f "$WORK/moved" ] || cl_left=$(($(cat "$WORK/moved") + LEAVE_SECONDS - $(date +%s)))
  # A clock that was set back does not make it longer.
  [ "$cl_left" -le "$LEAVE_SECONDS" ] || cl_left=$LEAVE_SECONDS
  [ "$cl_left" -gt 0 ] || return 0
  note "what was in service answers for $cl_left s more: nodes learn of a switch one by one"
  sleep "$cl_left"
}

cluster_status() {
  [ -n "$ENGINE_VERSION" ] || return 0
  ds_to=$(pointed_to)
  if [ -z "$ds_to" ]; then ds_door=closed; elif [ "$ds_to" = "${S_serving##*-}" ]; then ds_door=open; else ds_door="elsewhere: $ds_to"; fi
  [ $ds_door = open ] || return 0
  if routed "$S_serving"; then ds_answers=ready ds_ready=true; else ds_answers=$(why_not "$S_serving"); fi
}

# The namespace stays, closed, with what others put into it; --purge takes it too.
close_cluster() {
  asked delete service "$DOOR" --ignore-not-found >/dev/null 2>&1
  ! with_admission ||
    asked delete validatingadmissionpolicybindings,validatingadmissionpolicies --selector="$SITE_LABEL=$NAMESPACE" --ignore-not-found >/dev/null 2>&1
  asked delete validatingadmissionpolicybindings,validatingadmissionpolicies "$NAMESPACE-networks" --ignore-not-found >/dev/null 2>&1
  [ -z "$PURGE" ] || kube delete namespace "$NAMESPACE" --ignore-not-found --timeout=120s >/dev/null 2>&1
}
