# ── the site's registry ───────────────────────────────────────────────────────────────────────────
# The target's image with what was signed of it goes into the registry that the nodes pull from, by
# the distribution API and curl. What is there already is not sent again. The registry holds each
# blob against its digest; the manifest is read back and hashed here, since the pods name it.

# What a manifest may be when it is asked for.
OCI_MANIFEST=application/vnd.oci.image.manifest.v1+json
OCI_INDEX=application/vnd.oci.image.index.v1+json

# registry_asked METHOD PATH|URL [CURL_OPTION…]: sets HTTP to the status (000: no answer); the body goes
# to stdout, the headers to $WORK/headers.
registry_asked() {
  ra_method=$1 ra_url=$2
  shift 2
  case $ra_url in http://* | https://*) ;; *) ra_url=${SITE_push%%://*}://$(registry_host)$ra_url ;; esac
  case $ra_method in HEAD) set -- --head "$@" ;; *) set -- --request "$ra_method" "$@" ;; esac
  : >"$WORK/headers"
  curl --silent --show-error --connect-timeout 10 --speed-limit 1 --speed-time 60 --noproxy '*' \
    ${SITE_authority:+--cacert "$SITE_authority"} ${SITE_login:+--netrc-file "$SITE_login"} \
    --dump-header "$WORK/headers" --output "$WORK/body" "$@" "$ra_url" 2>"$WORK/said"
  HTTP=$(sed -n 's|^HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' "$WORK/headers" | tail -n 1)
  HTTP=${HTTP:-000}
  if [ "$HTTP" = 000 ]; then HTTP_SAID=$(said); else HTTP_SAID="HTTP $HTTP $(head -c 200 "$WORK/body" 2>/dev/null | tr '\n' ' ')"; fi
}

registry_host() { rh_rest=${SITE_push#*://} && echo "${rh_rest%%/*}"; }
registry_path() { rh_rest=${SITE_push#*://} && echo "/v2/${rh_rest#*/}/$R_SERVICE"; }

in_registry() {
  registry_asked HEAD "$(registry_path)/manifests/sha256:$1" --header "Accept: $OCI_MANIFEST"
  [ "$HTTP" = 200 ]
}

# open_upload: sets UPLOAD to where the registry wants the bytes.
open_upload() {
  registry_asked POST "$(registry_path)/blobs/uploads/" --data ''
  [ "$HTTP" = 202 ] || return 1
  UPLOAD=$(tr -d '\r' <"$WORK/headers" | sed -n 's/^[Ll]ocation: *//p' | tail -n 1)
  case $UPLOAD in
    http://* | https://*)
      # Credentials go to the registry alone, whatever it says.
      up_rest=${UPLOAD#*://}
      [ "${up_rest%%/*}" = "$(registry_host)" ] || { HTTP_SAID="the upload is sent elsewhere: ${up_rest%%/*}" && return 1; }
      ;;
    /*) ;;
    *) HTTP_SAID="no place for an upload is named" && return 1 ;;
  esac
}

push_blob() { # HEX
  registry_asked HEAD "$(registry_path)/blobs/sha256:$1"
  [ "$HTTP" != 200 ] || return 0
  open_upload || return 1
  case $UPLOAD in *\?*) pb_url="$UPLOAD&digest=sha256:$1" ;; *) pb_url="$UPLOAD?digest=sha256:$1" ;; esac
  registry_asked PUT "$pb_url" --header 'Content-Type: application/octet-stream' --header 'Expect:' \
    --upload-file "$RELEASE/images/blobs/sha256/$1"
  [ "$HTTP" = 201 ] && PUSHED=$((PUSHED + 1))
}

push_manifest() { # FILE NAME
  pm_type=$(sed -n 's/.*"mediaType":"\([^"]*\)","schemaVersion".*/\1/p' "$1")
  registry_asked PUT "$(registry_path)/manifests/$2" --header "Content-Type: ${pm_type:-$OCI_MANIFEST}" --data-binary "@$1"
  [ "$HTTP" = 201 ]
}

push_failed() {
  die 5 "the registry did not take the image" "$SITE_push/$R_SERVICE" "$1" "$HTTP_SAID" \
    "see what it says; nothing was changed in the cluster, run this again: what is there is not sent again"
}

# blobs_of FILE: the digests that a manifest names as its configuration and layers.
blobs_of() { sed 's/"subject":{[^}]*}//' "$1" | grep -o '"digest":"sha256:[0-9a-f]\{64\}"' | cut -d '"' -f 4 | cut -d : -f 2 | sort -u; }

push_image() {
  step "push $PINNED"
  PUSHED=0
  pi_blobs=$RELEASE/images/blobs/sha256
  for pi_hex in $R_CONFIG $R_LAYERS; do push_blob "$pi_hex" || push_failed "sha256:$pi_hex"; done
  push_manifest "$pi_blobs/$R_MANIFEST" "sha256:$R_MANIFEST" || push_failed "sha256:$R_MANIFEST"
  registry_asked GET "$(registry_path)/manifests/sha256:$R_MANIFEST" --header "Accept: $OCI_MANIFEST"
  if [ "$HTTP" != 200 ] || [ "$(digest_of "$WORK/body")" != "$R_MANIFEST" ]; then
    die 4 "the registry gives another image than the signed one" "$SITE_push/$R_SERVICE" "sha256:$R_MANIFEST" \
      "$HTTP_SAID" "do not use this registry"
  fi
  push_signatures
  IMAGE_ID=$R_MANIFEST IMAGE=$R_MANIFEST
  R_ENTRYPOINT=$(entrypoint)
  note "$PUSHED blobs were sent, the others were there"
}

# What was signed and attested of the image: artifacts whose subject it is, and cosign's by their tags.
push_signatures() {
  : >"$WORK/referrers"
  sed 's/},{"annotations"/}\n{"annotations"/g' "$RELEASE/images/index.json" >"$WORK/entries"
  while IFS= read -r sg_entry || [ -n "$sg_entry" ]; do
    sg_hex=$(printf %s "$sg_entry" | sed -n 's/.*"digest":"sha256:\([0-9a-f]\{64\}\)".*/\1/p')
    sg_tag=$(printf %s "$sg_entry" | sed -n 's/.*"dev\.packager\.tag":"\([^"]*\)".*/\1/p')
    [ -f "$pi_blobs/$sg_hex" ] && [ "$sg_hex" != "$R_MANIFEST" ] || continue
    case $sg_tag in
      "sha256-$R_MANIFEST".*) ;;
      '')
        grep -q '"subject":{"digest":"sha256:'"$R_MANIFEST" "$pi_blobs/$sg_hex" || continue
        sg_tag=sha256:$sg_hex
        printf %s "$sg_entry" | sed 's/.*\({"annotations"\)/\1/; s/,"platform":{[^}]*}//; s/}\]}*$/}/' >>"$WORK/referrers"
        echo >>"$WORK/referrers"
        ;;
      *) continue ;;
    esac
    for sg_blob in $(blobs_of "$pi_blobs/$sg_hex"); do push_blob "$sg_blob" || push_failed "sha256:$sg_blob"; done
    push_manifest "$pi_blobs/$sg_hex" "$sg_tag" || push_failed "$sg_tag"
    grep -qi '^oci-subject:' "$WORK/headers" || sg_listed=no
  done <"$WORK/entries"
  [ "${sg_listed:-}" != no ] || list_referrers
}

# A registry without the referrers API has them in an index under a tag (OCI distribution 1.1,
# "Referrers Tag Schema"); what others listed there stays.
list_referrers() {
  registry_asked GET "$(registry_path)/manifests/sha256-$R_MANIFEST" --header "Accept: $OCI_INDEX"
  lr_known=''
  [ "$HTTP" != 200 ] || lr_known=$(tr -d '\n' <"$WORK/body" | sed -n 's/.*"manifests": *\[\(.*\)\].*/\1/p')
  lr_more=''
  while IFS= read -r lr_entry; do
    lr_hex=$(printf %s "$lr_entry" | sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p')
    case $lr_known in *"$lr_hex"*) ;; *) lr_more="$lr_more${lr_more:+,}$lr_entry" ;; esac
  done <"$WORK/referrers"
  [ -n "$lr_more" ] || return 0
  printf '{"manifests":[%s],"mediaType":"%s","schemaVersion":2}' "$lr_known${lr_known:+,}$lr_more" "$OCI_INDEX" >"$WORK/index"
  push_manifest "$WORK/index" "sha256-$R_MANIFEST" || push_failed "the list of signatures"
}
