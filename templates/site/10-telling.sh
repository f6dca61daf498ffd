# ── telling ───────────────────────────────────────────────────────────────────────────────────────
# The story goes to stderr, results to stdout. With PACKAGER_FRAMES=1 each line of the story is
# `@kind<TAB>field…`, for a program that drives this one.

TAB=$(printf '\t')
RESULT=0
REASONS=''

framed() { [ "${PACKAGER_FRAMES:-}" = 1 ]; }
tell() { printf '%s\n' "$*" >&2; }
step() { if framed; then tell "@step$TAB$*"; else tell "• $*"; fi; }
note() { if framed; then tell "@note$TAB$*"; else tell "  $*"; fi; }

# finding CODE WHAT [WHERE [EXPECTED [GOT [NEXT]]]]: one thing that is wrong. The gravest code is
# what the command ends with: 4 before 3 before 1 before 5.
finding() {
  case $1-$RESULT in
    4-* | 3-[0125] | [12]-[05] | 5-0) RESULT=$1 ;;
  esac
  REASONS="$REASONS${REASONS:+; }$2${5:+ ($5)}"
  if framed; then
    # On one line, whatever an engine said in several.
    tell "$(printf %s "@finding$TAB$1$TAB$2$TAB${3:-}$TAB${4:-}$TAB${5:-}$TAB${6:-}" | tr '\n' ' ')"
    return
  fi
  case $1 in
    2) tell "usage: $2" ;;
    3) tell "refused by policy: $2" ;;
    4) tell "verification failed: $2" ;;
    5) tell "unavailable: $2" ;;
    *) tell "failed: $2" ;;
  esac
  [ -z "${3:-}" ] || tell "    where: $3"
  [ -z "${4:-}" ] || tell " expected: $4"
  [ -z "${5:-}" ] || tell "      got: $5"
  [ -z "${6:-}" ] || tell "     next: $6"
}

die() {
  finding "$@"
  leave "$RESULT"
}

# The one way out: what was begun is recorded, a test that still waits, scratch files and the lock go.
leave() {
  trap - EXIT INT TERM HUP
  [ -z "${PROBE_PID:-}" ] || end_probe
  stock_is_kept
  if [ "$1" != 0 ] && [ -n "$RECORDING" ]; then
    record "$(outcome "$1")" "$REASONS"
  fi
  [ -z "$WORK" ] || rm -rf "$WORK"
  [ -z "${LOCKED:-}" ] || rm -rf "${HOME_DIR:?}/incoming" "$HOME_DIR/incoming.base"
  unlock
  exit "$1"
}

outcome() {
  case $1 in
    3 | 4) echo refused ;;
    *) echo "${OUTCOME:-failed}" ;;
  esac
}

# Ctrl-C, SIGTERM: a version that nobody is served by yet goes away again.
interrupted() {
  trap - EXIT INT TERM HUP
  tell "interrupted"
  OUTCOME=interrupted REASONS=interrupted
  if [ -n "${S_candidate:-}" ] && [ "$S_candidate" != "${S_serving:-}" ]; then
    drop_candidate
  fi
  leave "$1"
}

# json TEXT: one JSON string. Control characters become spaces; no text of ours needs them.
json() {
  printf '"%s"' "$(printf %s "$1" | tr '\000-\037\177' ' ' | sed 's/[\\"]/\\&/g')"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
digest_of() { sha256sum "$1" | cut -d ' ' -f 1; }
