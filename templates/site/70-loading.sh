# ── loading ───────────────────────────────────────────────────────────────────────────────────────
# The engine is given the target's image alone, as an OCI archive that old engines take as well. It
# hashes every layer against the configuration, and the image's ID is that configuration's digest:
# an ID that is a signed one means bytes that are the signed ones.

load_image() {
  if [ "$SITE_engine" = kubernetes ]; then
    push_image
    return 0
  fi
  if [ -z "$NOT_HERE" ] && find_image; then
    note "the image is here already: $IMAGE_ID"
  else
    step "load $R_REFERENCE into $SITE_engine"
    archive_names
    if [ -n "${R_ENCRYPTED:-}" ] && [ -z "$PLAIN" ]; then
      engine pull --quiet --decryption-key "$DECRYPTION_KEY" "oci:$WORK/archive:$R_REFERENCE" >"$WORK/said" 2>&1 ||
        die 4 "the key does not open the image" "$DECRYPTION_KEY" "the private half of a key that it was encrypted for" \
          "$(said)" "nothing was changed"
    else
      # shellcheck disable=SC2046 # a list of names
      tar -C "$LOADED" -chf - $(loaded_names) 2>"$WORK/tar" |
        engine load >"$WORK/said" 2>&1 ||
        die 5 "the engine did not load the image" "$SITE_engine" "" "$(said)$(head -n 1 "$WORK/tar")" \
          "see what it says; nothing was changed, run this again"
    fi
    find_image || die 4 "the engine loaded another image than the signed one" "$R_REFERENCE" "sha256:$R_CONFIG" \
      "$(said)" "do not use this release"
  fi
  R_ENTRYPOINT=$(entrypoint)
  IMAGE=$(image_name "$IMAGE_ID")
}

# What the image runs, as the signed configuration says it: JSON strings between commas.
entrypoint() {
  head -c 1048576 "$RELEASE/images/blobs/sha256/$R_CONFIG" | tr -d "\n'" | sed -n 's/.*"Entrypoint":\[\([^]\\]*\)\].*/\1/p'
}

# The folder that the engine is given, and what of it.
loaded_names() {
  if [ -n "$PLAIN" ]; then echo .; else echo "oci-layout index.json manifest.json $ARCHIVE_BLOBS"; fi
}

# plain_is_ours: whether PLAIN is a layout of one image with the signed configuration. What the model
# unpacks to is in there (diff_ids), and the engine holds its bytes against it.
plain_is_ours() {
  pi_hex=$(tr -d ' \n' <"$PLAIN/index.json" 2>/dev/null | sed -n 's/.*"digest":"sha256:\([0-9a-f]\{64\}\)".*/\1/p')
  pi_file=$PLAIN/blobs/sha256/$pi_hex
  [ -n "$pi_hex" ] && [ -f "$pi_file" ] && [ "$(digest_of "$pi_file")" = "$pi_hex" ] || return 1
  case $(head -c 4096 "$pi_file") in
    '{"config":{"digest":"sha256:'"$R_CONFIG"'",'*) PLAIN_MANIFEST=$pi_hex ;;
    *) return 1 ;;
  esac
}

# The three documents of an archive that holds this image, and its blobs where they lie.
archive_names() {
  LOADED=${PLAIN:-$WORK/archive}
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
