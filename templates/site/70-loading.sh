# ── loading ───────────────────────────────────────────────────────────────────────────────────────
# The engine is given the target's image alone, as an OCI archive that old engines take as well. It
# hashes every layer against the configuration, and the image's ID is that configuration's digest:
# an ID that is a signed one means bytes that are the signed ones.

load_image() {
  if [ -z "$NOT_HERE" ] && find_image; then
    note "the image is here already: $IMAGE_ID"
  else
    step "load $R_REFERENCE into $SITE_engine"
    archive_names
    # shellcheck disable=SC2086 # a list of names
    tar -C "$WORK/archive" -chf - oci-layout index.json manifest.json $ARCHIVE_BLOBS 2>"$WORK/tar" |
      engine load >"$WORK/said" 2>&1 ||
      die 5 "the engine did not load the image" "$SITE_engine" "" "$(said)$(head -n 1 "$WORK/tar")" \
        "see what it says; nothing was changed, run this again"
    find_image || die 4 "the engine loaded another image than the signed one" "$R_REFERENCE" "sha256:$R_CONFIG" \
      "$(said)" "do not use this release"
  fi
  IMAGE=$(image_name "$IMAGE_ID")
}

# The three documents of an archive that holds this image, and its blobs where they lie.
archive_names() {
  rm -rf "$WORK/archive"
  mkdir -p "$WORK/archive"
  ln -s "$(cd "$RELEASE" && pwd -P)/images/blobs" "$WORK/archive/blobs"
  ARCHIVE_BLOBS="blobs/sha256/$R_MANIFEST blobs/sha256/$R_CONFIG"
  an_layers=''
  for an_hex in $R_LAYERS; do
    an_layers="$an_layers${an_layers:+,}\"blobs/sha256/$an_hex\""
    ARCHIVE_BLOBS="$ARCHIVE_BLOBS blobs/sha256/$an_hex"
  done
  printf '{"imageLayoutVersion":"1.0.0"}' >"$WORK/archive/oci-layout"
  printf '[{"Config":"blobs/sha256/%s","Layers":[%s],"RepoTags":["%s"]}]' "$R_CONFIG" "$an_layers" "$R_REFERENCE" \
    >"$WORK/archive/manifest.json"
  printf '{"manifests":[{"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"},' \
    "$R_REFERENCE" "$R_REFERENCE" >"$WORK/archive/index.json"
  printf '"digest":"sha256:%s","mediaType":"application/vnd.oci.image.manifest.v1+json","size":%s}],' \
    "$R_MANIFEST" "$R_MANIFEST_SIZE" >>"$WORK/archive/index.json"
  printf '"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}' >>"$WORK/archive/index.json"
}
