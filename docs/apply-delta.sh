#!/bin/sh
# Makes a release whole again at a site without Python: an older bundle and a delta that stands on
# it. Needs sh (dash, busybox ash), tar, sed, grep, awk, dd, head, tail, sha256sum. Format: bundle.md.
#
#   sh apply-delta.sh OLD.tar DELTA.tar NEW.tar
#
# NEW.tar holds the files of the new release under the names of a bundle; install.sh takes it and
# checks every one against the signature. Nothing is believed here: what does not come out with the
# digest that checksums.txt names is refused by name, and NEW.tar is not made.
set -eu
old=$1 delta=$2 new=$3
umask 022

refuse() { echo "refused: $*" >&2; exit 4; }
digest() { sha256sum <"$1" | cut -c 1-64; }
# piece FILE OFFSET LENGTH: so many bytes of a file, without reading what lies before them.
piece() {
  dd if="$1" bs=65536 skip=$(($2 / 65536)) 2>/dev/null | tail -c +$(($2 % 65536 + 1)) | head -c "$3"
}

[ ! -e "$new" ] || { echo "$new exists already" >&2; exit 1; }
work=$new.making
rm -rf "$work"
mkdir -p "$work/made" "$work/old"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

tar -tvf "$delta" | grep -qv '^-' && refuse "$delta holds something that is no plain file"
tar -tf "$delta" | grep -qE '^/|(^|/)\.\.(/|$)' && refuse "$delta holds a name that leads elsewhere"
tar -xf "$delta" -C "$work/made"
tar -xOf "$old" checksums.txt >"$work/old.sums" || refuse "$old is no bundle"
tar -xOf "$old" release.json >"$work/old.json" || refuse "$old is no bundle"
base=$(grep -o '"delta":{"base":{"digest":"sha256:[0-9a-f]\{64\}' "$work/made/bundle.json" | tail -c 65 | head -c 64)
[ -n "$base" ] || refuse "$delta stands on no other release"
[ "$base" = "$(digest "$work/old.json")" ] || refuse "$delta was made from another release than $old: sha256:$base"

# What stays behind, and what is rebuilt: paths of the new release.
sed 's/.*"kept":\[\([^]]*\)\].*/\1/' "$work/made/bundle.json" | tr ',' '\n' | tr -d '"' >"$work/kept"
ls "$work/made/delta" 2>/dev/null | sed -n 's/\.recipe$//p' >"$work/rebuilt"
grep -qE '^/|(^|/)\.\.(/|$)' "$work/kept" && refuse "$delta names a file that leads elsewhere"
grep -qvxE '[0-9a-f]{64}' "$work/rebuilt" && refuse "$delta names a blob by no digest"
awk 'NR == FNR { kept[$0]; next } substr($0, 67) in kept' \
  "$work/kept" "$work/made/checksums.txt" >"$work/wanted"
# name PATH: where a file of a release lies in a bundle.
name() { echo "$1" | sed 's,^images/blobs/,blobs/,'; }

tar -tf "$old" >"$work/names"
while read -r sum path; do
  from=$(grep "^$sum  " "$work/old.sums" | cut -c 67- | while IFS= read -r each; do
    if grep -qxF "$(name "$each")" "$work/names"; then name "$each"; break; fi
  done)
  [ -n "$from" ] || refuse "$old does not have $path"
  to=$work/made/$(name "$path")
  mkdir -p "$(dirname "$to")"
  tar -xOf "$old" "$from" >"$to"
  [ "$(digest "$to")" = "$sum" ] || refuse "$old is damaged: $from"
done <"$work/wanted"

while read -r hex; do
  recipe=$work/made/delta/$hex.recipe to=$work/made/blobs/sha256/$hex
  sed 1d "$recipe" | grep -qvxE 'copy [0-9a-f]{64} [0-9]{1,15} [0-9]{1,15}|data [0-9]{1,15} [0-9]{1,15}' &&
    refuse "$delta is damaged: delta/$hex.recipe"
  for blob in $(sed -n 's/^copy \([0-9a-f]\{64\}\) .*/\1/p' "$recipe" | sort -u); do
    [ -f "$work/old/$blob" ] || tar -xOf "$old" "blobs/sha256/$blob" >"$work/old/$blob" ||
      refuse "$old does not have blobs/sha256/$blob"
  done
  sed 1d "$recipe" | while read -r what first second third; do
    case $what in
      copy) piece "$work/old/$first" "$second" "$third" ;;
      data) piece "$work/made/delta/$hex.data" "$first" "$second" ;;
    esac
  done >"$to"
  if [ "$(digest "$to")" != "$hex" ]; then
    for blob in "$work/old"/*; do
      [ "$(digest "$blob")" = "${blob##*/}" ] || refuse "$old is damaged: blobs/sha256/${blob##*/}"
    done
    refuse "$delta is damaged: delta/$hex"
  fi
done <"$work/rebuilt"

rm -rf "$work/made/delta" "$work/made/bundle.json"
# Each file by its name, without folders: a bundle has none, and busybox reads no list of names.
(cd "$work/made" && find . -type f) | cut -c 3- | sort >"$work/files"
IFS='
'
set -f
# shellcheck disable=SC2046 # a name a line
tar -cf "$work/new.tar" -C "$work/made" $(cat "$work/files")
sync
mv "$work/new.tar" "$new"
echo "$new"
