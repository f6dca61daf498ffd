# ── preflight ─────────────────────────────────────────────────────────────────────────────────────
# Everything that can be known before anything is changed, and all of it told at once. What the law
# or the hardware says no to is a refusal (3); what may be better in an hour is unavailable (5).

passed() { check "$1" passed "$2" "$3"; }
missed() { # CODE NAME WHAT EXPECTED GOT NEXT
  check "$2" refused "$4" "$5"
  finding "$1" "$3" "preflight: $2" "$4" "$5" "${6:-}"
}

preflight() {
  step "preflight for $R_NAME $R_VERSION, $R_TARGET"
  fits_site
  fits_version
  fits_clock
  case $SITE_engine in
    kubernetes) fits_cluster ;;
    *)
      fits_machine
      fits_accelerator
      fits_engine
      ;;
  esac
  [ "$RESULT" = 0 ] || leave "$RESULT"
}

fits_site() {
  if [ "$SITE_jurisdiction" = "$R_JURISDICTION" ]; then
    passed jurisdiction "$R_JURISDICTION" "$SITE_jurisdiction"
  else
    missed 3 jurisdiction "the release is for another jurisdiction" "$R_JURISDICTION" "$SITE_jurisdiction" \
      "get the release for $SITE_jurisdiction"
  fi
  case " $R_REGIONS " in
    *" $SITE_region "*) passed region "$R_REGIONS" "$SITE_region" ;;
    *) missed 3 region "the release may not run in this site's region" "${R_REGIONS:-none is named}" "$SITE_region" \
      "build it with this region among its target's regions" ;;
  esac
  if [ -n "$SITE_accept" ] && ! listed "$R_NAME" "$SITE_accept"; then
    missed 3 name "the site does not accept a release of this name" "$SITE_accept" "$R_NAME"
  else
    passed name "${SITE_accept:-any}" "$R_NAME"
  fi
  case $SITE_engine-$R_PLATFORM in
    kubernetes-kubernetes) ;;
    kubernetes-* | *-kubernetes)
      missed 3 platform "the release's target is for another kind of engine" "a target for $SITE_engine" "$R_TARGET" \
        "build it with a target for this site's engine: kubernetes for a cluster, else compose or quadlet"
      ;;
  esac
  [ -z "${R_ENCRYPTED:-}" ] || fits_encryption
  if [ -n "$SITE_hardware" ] && [ "$SITE_hardware" != "$R_HARDWARE" ]; then
    missed 3 hardware "the release is for other hardware" "$R_HARDWARE" "$SITE_hardware"
  fi
}

# A plain shell opens nothing: podman does with the key, or somebody who holds it made the image plain.
fits_encryption() {
  if [ "$SITE_engine" = kubernetes ]; then
    missed 3 encryption "the model is encrypted, and the nodes of a cluster open it with keys of their own" \
      "a release whose model is not encrypted" "an encrypted layer" "see docs/site.md: encrypted models"
    return 0
  fi
  fe_asked='the plain image, or podman and the key'
  if [ -n "$PLAIN" ]; then
    if plain_is_ours; then
      passed encryption "$fe_asked" "the plain image $PLAIN"
    else
      missed 4 encryption "that is not this release's image made plain" "an OCI layout whose configuration is sha256:$R_CONFIG" \
        "$PLAIN" "make it from this release: packager decrypt"
    fi
  elif find_image; then
    passed encryption "$fe_asked" "the image is here already"
  elif [ -z "$DECRYPTION_KEY" ]; then
    missed 3 encryption "the model is encrypted, and no key is given" "$fe_asked" "an encrypted layer" \
      "with podman: --decryption-key FILE; with Docker: packager install --decryption-key FILE, or packager decrypt where the key is and --plain FOLDER here"
  elif [ "$SITE_engine" != podman ] && [ "$SITE_engine" != quadlet ]; then
    missed 3 encryption "$SITE_engine opens no encrypted image" "$fe_asked" "$SITE_engine" \
      "packager install --decryption-key FILE, or packager decrypt where the key is and --plain FOLDER here"
  elif [ ! -r "$DECRYPTION_KEY" ]; then
    missed 2 encryption "the key cannot be read" "a private key file" "$DECRYPTION_KEY"
  else
    passed encryption "$fe_asked" "podman, with the key $DECRYPTION_KEY"
  fi
}

# older A B: whether version A comes before B. Numbers are compared as numbers; a pre-release
# (1.2.0-rc.1) comes before its release (SemVer 2.0.0, 11).
older() {
  [ "$1" != "$2" ] || return 1
  ol_a=${1%%+*} ol_b=${2%%+*}
  ol_pre_a='' ol_pre_b=''
  case $ol_a in *-*) ol_pre_a=${ol_a#*-} ol_a=${ol_a%%-*} ;; esac
  case $ol_b in *-*) ol_pre_b=${ol_b#*-} ol_b=${ol_b%%-*} ;; esac
  dotted "$ol_a" "$ol_b" 0
  case $ORDER in before) return 0 ;; after) return 1 ;; esac
  [ "$ol_pre_a" != "$ol_pre_b" ] || return 1
  [ -n "$ol_pre_a" ] || return 1
  [ -n "$ol_pre_b" ] || return 0
  dotted "$ol_pre_a" "$ol_pre_b" ''
  [ "$ORDER" = before ]
}

# dotted A B FILL: sets ORDER to before, after or same. A field that is missing counts as FILL, and
# an empty one comes first.
dotted() {
  dt_a=$1. dt_b=$2.
  ORDER=same
  while [ -n "$dt_a$dt_b" ] && [ "$ORDER" = same ]; do
    dt_x=${dt_a%%.*} dt_y=${dt_b%%.*}
    [ -n "$dt_a" ] || dt_x=$3
    [ -n "$dt_b" ] || dt_y=$3
    dt_a=${dt_a#*.} dt_b=${dt_b#*.}
    [ "$dt_x" != "$dt_y" ] || continue
    case $dt_x-$dt_y in
      -*) ORDER=before ;;
      *-) ORDER=after ;;
      *)
        if numeric "$dt_x" && numeric "$dt_y"; then
          if [ "$dt_x" -lt "$dt_y" ]; then ORDER=before; elif [ "$dt_x" -gt "$dt_y" ]; then ORDER=after; fi
        elif numeric "$dt_x"; then
          ORDER=before
        elif numeric "$dt_y"; then
          ORDER=after
        elif earlier "$dt_x" "$dt_y"; then
          ORDER=before
        else
          ORDER=after
        fi
        ;;
    esac
  done
}

numeric() { case $1 in '' | *[!0-9]* | ?????????????????*) return 1 ;; esac; }

# The root's counter grows with every release; where a release has none, its version is compared.
goes_back() {
  if [ -n "$R_COUNTER" ] && [ -n "$S_counter" ]; then
    [ "$R_COUNTER" -lt "$S_counter" ]
  else
    [ -n "$S_newest" ] && older "$R_VERSION" "$S_newest"
  fi
}

fits_version() {
  if [ -n "$S_release" ] && [ "$S_release" != "$R_NAME" ]; then
    missed 3 version "the data folder belongs to another release" "$R_NAME" "$S_release"
  fi
  if [ "$PERMITTED" = "$RELEASE_DIGEST" ]; then
    passed version "a signed permit to go back" "$R_VERSION"
  elif ! goes_back; then
    passed version "at least ${S_newest:-any}" "$R_VERSION"
  else
    missed 3 version "the release is older than one that was installed here" "at least $S_newest" "$R_VERSION" \
      "to go back to a version that is still here: rollback --to VERSION"
  fi
  fv_same=$(printf %s "$S_slots" | cut -d ' ' -f 2,3 | grep "^$R_VERSION " | cut -d ' ' -f 2)
  if [ -n "$fv_same" ] && [ "$fv_same" != "$RELEASE_DIGEST" ]; then
    missed 3 version "this version is installed here with other content" "$fv_same" "$RELEASE_DIGEST" \
      "give the new release a version of its own"
  fi
}

fits_machine() {
  case $(uname -m) in
    x86_64 | amd64) fm_machine=amd64 ;;
    aarch64 | arm64) fm_machine=arm64 ;;
    *) fm_machine=$(uname -m) ;;
  esac
  if [ "$fm_machine" = "$R_ARCHITECTURE" ]; then
    passed architecture "$R_ARCHITECTURE" "$fm_machine"
    fits_processor
  else
    missed 3 architecture "the release is for another architecture" "$R_ARCHITECTURE" "$fm_machine"
  fi
  fm_memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' "$PROC/meminfo") / 1024))
  if [ "$fm_memory" -ge "$R_MEMORY_MIB" ]; then
    passed memory "$R_MEMORY_MIB MiB" "$fm_memory MiB"
  else
    missed 5 memory "too little memory is free beside the running version" "$R_MEMORY_MIB MiB" "$fm_memory MiB" \
      "stop what is not needed; the figure is estimated from the model's size"
  fi
}

fits_processor() {
  fp_flags=" $(grep -m 1 -E '^(flags|Features)[[:space:]]*:' "$PROC/cpuinfo" | sed 's/.*://') " fp_lacks=''
  for fp_word in $R_INSTRUCTIONS; do
    case $fp_flags in *" $fp_word "*) ;; *) fp_lacks="$fp_lacks $fp_word" ;; esac
  done
  [ -z "$R_INSTRUCTIONS" ] || if [ -z "$fp_lacks" ]; then
    passed processor "$R_INSTRUCTIONS" "all of them"
  else
    missed 3 processor "the processor lacks instructions that the model was optimized for" "$R_INSTRUCTIONS" \
      "without$fp_lacks" "get the release for this machine's hardware profile"
  fi
}

fits_accelerator() {
  case $R_VENDOR in
    '') return 0 ;;
    NVIDIA) ;;
    *)
      for fa_node in $R_DEVICE_NODES; do
        if [ -e "$fa_node" ]; then passed accelerator "$fa_node" "it is there"; else
          missed 3 accelerator "the accelerator's device node is not here" "$fa_node for $R_PRODUCT" "nothing" \
            "install the maker's driver, or get the release for this machine's hardware"
        fi
      done
      return 0
      ;;
  esac
  fa_told=$(nvidia-smi --query-gpu=driver_version,compute_cap,name --format=csv,noheader 2>/dev/null | head -n 1)
  if [ -z "$fa_told" ]; then
    missed 3 accelerator "no NVIDIA accelerator answers" "$R_PRODUCT" "nvidia-smi says nothing" \
      "install NVIDIA's driver, or get the release for this machine's hardware"
    return 0
  fi
  fa_driver=${fa_told%%,*} fa_rest=${fa_told#*, }
  fa_capability=${fa_rest%%,*}
  passed accelerator "$R_PRODUCT" "${fa_rest#*, }"
  at_least driver "the driver is older than what the release needs" "$R_DRIVER" "$fa_driver"
  if [ -n "$R_CAPABILITY" ] && [ "$fa_capability" != "$R_CAPABILITY" ]; then
    missed 3 "compute capability" "the release is built for another compute capability" "$R_CAPABILITY" "$fa_capability" \
      "get the release for this machine's hardware profile"
  else
    passed "compute capability" "${R_CAPABILITY:-any}" "$fa_capability"
  fi
  fa_cuda=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' | head -n 1)
  at_least CUDA "the driver's CUDA is older than what the release needs" "$R_CUDA" "$fa_cuda"
}

at_least() { # NAME WHAT FLOOR GOT
  if [ -n "$3" ] && { [ -z "$4" ] || older "$4" "$3"; }; then
    missed 3 "$1" "$2" "at least $3" "${4:-unknown}" "update NVIDIA's driver"
  else
    passed "$1" "at least ${3:-any}" "$4"
  fi
}

# Days are compared, so that no time zone and no slow clock makes a fault.
fits_clock() {
  fc_made=$(grep -o '"created":"[0-9TZ:-]*"' "$WORK/release.json" | head -n 1 | cut -d '"' -f 4)
  fc_day=$(now)
  if earlier "${fc_day%%T*}" "${fc_made%%T*}"; then
    missed 5 clock "the clock is behind: the release was made later than today" "${fc_made%%T*} or later" "${fc_day%%T*}" \
      "set the clock, then run this again"
  else
    passed clock "${fc_made%%T*} or later" "${fc_day%%T*}"
  fi
  fits_validity
}

# earlier A B: whether text A sorts before B; times of one form do so as they come.
earlier() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort | head -n 1)" = "$1" ]; }

# The window that the signed root names, if it does.
fits_validity() {
  fv_from=$(sed -n 's/.*"validity":{[^}]*"not_before":"\([0-9TZ:.+-]*\)".*/\1/p' "$WORK/release.json")
  fv_until=$(sed -n 's/.*"validity":{[^}]*"not_after":"\([0-9TZ:.+-]*\)".*/\1/p' "$WORK/release.json")
  fv_now=$(now)
  if [ -n "$fv_until" ] && ! earlier "$fv_now" "$fv_until"; then
    missed 3 validity "the release's validity is over" "before $fv_until" "$fv_now" "get a newer release, or one that was signed again"
  elif [ -n "$fv_from" ] && earlier "$fv_now" "$fv_from"; then
    missed 3 validity "the release is not valid yet" "after $fv_from" "$fv_now"
  else
    passed validity "${fv_from:-always} to ${fv_until:-always}" "$fv_now"
  fi
}

fits_engine() {
  if [ -z "$ENGINE_VERSION" ] && ! engine_answers; then
    missed 5 engine "$SITE_engine does not answer" "$SITE_engine" \
      "$(engine_says)" "start it, then run this again"
    return 0
  fi
  case $SITE_engine in docker) fe_floor=20.10 ;; quadlet) fe_floor=4.6 ;; containerd) fe_floor=1.6 ;; *) fe_floor=4.4 ;; esac
  fe_version=${ENGINE_VERSION%%[!0-9.]*}
  if older "$fe_version" "$fe_floor"; then
    missed 5 engine "the engine is too old" "at least $fe_floor" "$ENGINE_VERSION"
  else
    passed engine "$SITE_engine, at least $fe_floor" "$ENGINE_VERSION"
  fi
  [ "$SITE_engine" != containerd ] || fits_containerd
  if ! find_image; then
    NOT_HERE=1
    fe_free=$(free_mib "$(storage_folder)")
    if [ "$fe_free" -ge "$R_SPACE_MIB" ]; then
      passed space "$R_SPACE_MIB MiB" "$fe_free MiB"
    else
      missed 5 space "too little space for the image" "$R_SPACE_MIB MiB (estimated)" "$fe_free MiB" \
        "free some, or keep fewer versions (keep in the site profile)"
    fi
  fi
  fits_port
}

# free_mib FOLDER: of the nearest folder above it that is there.
free_mib() {
  fm_at=$1
  while [ -n "$fm_at" ] && [ ! -d "$fm_at" ]; do fm_at=${fm_at%/*}; done
  echo $(($(df -Pk "${fm_at:-/}" | sed -n '2s/  */ /gp' | cut -d ' ' -f 4) / 1024))
}

fits_port() {
  if running "$DOOR" && [ "$(door_label listen)" = "$SITE_listen" ]; then
    passed port "$SITE_listen" "held by our door"
    return 0
  fi
  fp_hex=$(printf ':%04X ' "$LISTEN_PORT")
  if cat "$PROC/net/tcp" "$PROC/net/tcp6" 2>/dev/null | grep -F "$fp_hex" |
    grep -q "${fp_hex}[0-9A-F]*:[0-9A-F]* 0A "; then
    missed 5 port "somebody else listens on the port" "$SITE_listen" "taken" "free it, or change listen in the site profile"
  else
    passed port "$SITE_listen" "free"
  fi
}
