# ── preflight of a cluster ────────────────────────────────────────────────────────────────────────
# What a machine is asked elsewhere, a cluster's API server, its nodes and its registry are asked here.

fits_cluster() {
  fl_lacks=''
  for fl_tool in kubectl curl; do command -v "$fl_tool" >/dev/null 2>&1 || fl_lacks="$fl_lacks $fl_tool"; done
  if [ -n "$fl_lacks" ]; then
    missed 5 tools "tools are missing on this machine" "kubectl and curl" "without$fl_lacks" "install them, or run this where they are"
    return 0
  fi
  if [ -z "$ENGINE_VERSION" ] && ! engine_answers; then
    missed 5 engine "the cluster does not answer" "${SITE_context:-the current context}" "$(engine_says)" \
      "mend kubeconfig and context in the site profile, then run this again"
    fits_registry
    return 0
  fi
  fl_version=${ENGINE_VERSION%%[!0-9.]*}
  # Templates of a site's own may do without what older clusters lack; fits_apis asks for what is used.
  fl_floor=1.19
  ! grep -qsxF "kind: ValidatingAdmissionPolicy" "$RELEASE/targets/$R_TARGET/base/"*.yaml || fl_floor=1.30
  if older "$fl_version" $fl_floor; then
    missed 3 engine "the cluster is too old for these manifests" "Kubernetes $fl_floor or later" "$ENGINE_VERSION"
  else
    passed engine "Kubernetes $fl_floor or later" "$ENGINE_VERSION"
  fi
  fits_apis
  fits_rights
  fits_namespace
  fits_nodes
  fits_registry
}

# Every API that the signed manifests use is served.
fits_apis() {
  fa_lacks='' fa_all=''
  for fa_api in $(cat "$RELEASE/targets/$R_TARGET/base/"*.yaml 2>/dev/null | sed -n 's/^apiVersion: *\([a-z0-9./]*\)$/\1/p' | grep -v kustomize | sort -u); do
    case $fa_api in */*) fa_path=/apis/$fa_api ;; *) fa_path=/api/$fa_api ;; esac
    fa_all="$fa_all $fa_api"
    asked get --raw "$fa_path" >/dev/null 2>&1 || fa_lacks="$fa_lacks $fa_api"
  done
  if [ -z "$fa_lacks" ]; then passed APIs "${fa_all# }" "all of them"; else
    missed 3 APIs "the cluster does not serve what the manifests use" "${fa_all# }" "without$fa_lacks" "use a cluster that serves them"
  fi
}

# may VERB RESOURCE [SUBRESOURCE]
may() {
  asked auth can-i "$1" "$2" ${3:+--subresource="$3"} >/dev/null 2>&1 || fr_lacks="$fr_lacks${fr_lacks:+, }$1 $2${3:+/$3}"
}

fits_rights() {
  fr_lacks=''
  for fr_kind in deployments.apps services serviceaccounts networkpolicies.networking.k8s.io poddisruptionbudgets.policy; do
    may create "$fr_kind"
    may patch "$fr_kind"
  done
  [ ! -f "$RELEASE/targets/$R_TARGET/base/horizontalpodautoscaler.yaml" ] || may create horizontalpodautoscalers.autoscaling
  may delete deployments.apps
  may delete services
  may patch deployments.apps scale
  may list pods
  may create pods exec
  may get pods log
  may list endpointslices.discovery.k8s.io
  may list nodes
  may patch namespaces
  [ $fl_floor = 1.19 ] || for fr_kind in validatingadmissionpolicies validatingadmissionpolicybindings; do
    may create $fr_kind.admissionregistration.k8s.io
    may patch $fr_kind.admissionregistration.k8s.io
    may delete $fr_kind.admissionregistration.k8s.io
  done
  if [ -z "$fr_lacks" ]; then passed rights "what the installation does" "all of it"; else
    missed 3 rights "this identity may not do in the cluster what an installation does" "kubectl auth can-i: yes" "may not $fr_lacks" \
      "ask the cluster's administrator, or name another context in the site profile"
  fi
}

# own_cluster: what runs there is what this data folder knows; nothing of another's is taken away.
own_cluster() {
  oc_to=$(pointed_to)
  for oc_slot in $(printf %s "$S_slots" | cut -d ' ' -f 1) $S_candidate; do
    [ "${oc_slot##*-}" != "$oc_to" ] || oc_to=''
  done
  # A selector that leads to no version at all is only bent, and will be put right.
  [ -z "$oc_to" ] || [ -z "$(asked get deployments --selector="$SLOT_LABEL=$oc_to" --output=name 2>/dev/null)" ] || die 3 "the cluster has an installation that this data folder does not know" "$NAMESPACE: service $DOOR" \
    "a version in $HOME_DIR" "slot $oc_to" "run this where it was installed from, or bring that data folder here"
}

fits_namespace() {
  for fn_target in $(printf %s "$S_slots" | cut -d ' ' -f 4 | sort -u); do
    [ "$fn_target" = "$R_TARGET" ] || [ -n "$SITE_namespace" ] ||
      missed 3 namespace "another target of this release is installed from here, in a namespace of its own" "$fn_target" "$R_TARGET" \
        "uninstall it, or name one namespace for both in the site profile"
  done
  fn_by=$(asked get namespace "$NAMESPACE" --output=jsonpath='{.metadata.labels.app\.kubernetes\.io/managed-by}:{.status.phase}' 2>/dev/null)
  case $fn_by in
    '' | packager:Active) ;;
    packager:*) missed 5 namespace "the namespace is going away" "$NAMESPACE" "${fn_by#*:}" "wait for its end, then run this again" ;;
    *) missed 3 namespace "the namespace is somebody else's" "one that is not there, or packager's" "$NAMESPACE, of '${fn_by%:*}'" \
      "name another one in the site profile (namespace)" ;;
  esac
  if asked get deployment "$R_SERVICE" >/dev/null 2>&1; then
    missed 3 namespace "a version that was applied by hand runs there" "nothing, or what was installed from here" "deployment $R_SERVICE in $NAMESPACE" \
      "remove it first: kubectl delete -k on the manifests that made it"
  else
    passed namespace "$NAMESPACE" "${fn_by:-not there yet}"
  fi
}

# A node of this site's region that is ready, with the labels that the pods will require.
fits_nodes() {
  fn_labels=''
  for fn_place in $R_PLACES; do
    [ "${fn_place%%|*}" != "$SITE_region" ] || fn_labels=${fn_place#*|}
  done
  [ -n "$fn_labels" ] || return 0 # the region was refused already
  asked get nodes --selector="$fn_labels" --output=jsonpath='{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.spec.unschedulable}{"\n"}{end}' \
    2>"$WORK/said" | sed -n 's/^\([^ ]*\) True $/\1/p' >"$WORK/nodes"
  if [ -s "$WORK/nodes" ]; then
    passed nodes "a node with $fn_labels" "$(tr '\n' ' ' <"$WORK/nodes")"
  else
    missed 3 nodes "no node that is ready stands where the release may run" "$fn_labels" "none$([ ! -s "$WORK/said" ] || said)" \
      "what you state of a node, you state with: kubectl label node NODE LABEL=VALUE; see README.md of the target"
    return 0
  fi
  [ -z "$R_RUNTIME_CLASS" ] || if asked get runtimeclass "$R_RUNTIME_CLASS" >/dev/null 2>&1; then
    passed "runtime class" "$R_RUNTIME_CLASS" "it is there"
  else
    missed 3 "runtime class" "the cluster has no such runtime class" "$R_RUNTIME_CLASS" "none" "install the accelerator's operator"
  fi
  [ -z "$R_RESOURCE" ] || fits_resource
}

fits_resource() {
  fs_path=$(printf %s "$R_RESOURCE" | sed 's/\./\\./g')
  fs_there=0
  for fs_count in $(asked get nodes --selector="$fn_labels" --output=jsonpath="{.items[*].status.allocatable.$fs_path}" 2>/dev/null); do
    case $fs_count in *[!0-9]*) ;; *) fs_there=$((fs_there + fs_count)) ;; esac
  done
  # Beside the running version the new one needs pieces of its own.
  fs_need=$R_REPLICAS
  [ -z "$S_serving" ] || fs_need=$((R_REPLICAS * 2))
  if [ "$fs_there" -ge "$fs_need" ]; then passed accelerator "$fs_need $R_RESOURCE" "$fs_there"; else
    missed 3 accelerator "the nodes offer too few accelerators to start beside the running version" "$fs_need $R_RESOURCE" "$fs_there" \
      "add a node, or the maker's device plug-in"
  fi
}

fits_registry() {
  registry_asked GET "/v2/" >/dev/null
  case $HTTP in
    200) ;;
    401)
      missed 5 registry "the registry asks who this is" "$SITE_push" "HTTP 401" "name a curl netrc file in the site profile (login)"
      return 0
      ;;
    *)
      missed 5 registry "the registry does not answer" "$SITE_push" "$HTTP_SAID" "start it, or mend push and authority in the site profile"
      return 0
      ;;
  esac
  if open_upload; then
    registry_asked DELETE "$UPLOAD" >/dev/null
    passed registry "$SITE_push, writable" "HTTP 202"
  else
    missed 5 registry "the registry takes nothing from here" "$SITE_push, writable" "$HTTP_SAID" "ask its administrator, or mend login in the site profile"
  fi
}
