"""What a fine-tune's delta weighs, and how long it takes, beside zstd --patch-from and xdelta3.

Initializers of 4 KiB to 4 MiB of float32, 5 % of their bytes changed a little, as a fine-tune of
some layers does. Bounds: the delta bundle at most 8 % of the weights; where all weights changed, at
most the new blobs and 2 %. "by initializer" is what a delta that knows the model would carry: every
changed initializer whole, nothing else.

    python -m benchmarks.border.delta_size [MiB of weights] [folder to work in]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.border.big_release import big_release
from benchmarks.border.figures import packager, run
from packager.bundle.matching import ChunkIndex, OldBlob, match
from packager.digest import Digest

PEERS = Path(os.environ.get("PACKAGER_PEERS_ROOT", "/var/lib/packager-peers"))
SIZES = (4 << 10, 64 << 10, 512 << 10, 1 << 20, 4 << 20)
SHARE, BOUND, WHOLE_BOUND = 0.05, 0.08, 1.02


def main(mebibytes: int = 128, where: Path | None = None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="packager-delta-", dir=where))
    try:
        _measure(folder, mebibytes << 20)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, size: int) -> None:
    chance = np.random.default_rng(1)
    old, new, other = (folder / name for name in ("old", "new", "other"))
    changed = _write(old, new, size, chance)
    other.write_bytes(chance.bytes(old.stat().st_size))
    size = old.stat().st_size
    print(f"weights {size} bytes; by initializer {changed} bytes ({100 * changed / size:.2f} %)")
    _grains(old, new, changed)
    _tools(old, new, folder, size)
    first = big_release(folder / "first", old, "1.0.0")
    for name, weights, version in (("fine-tune", new, "1.1.0"), ("new weights", other, "2.0.0")):
        made = big_release(folder / version, weights, version, first.key_file)
        delta = folder / f"{version}.tar"
        taken = packager("bundle", made.folder, "--key", first.public_file, "-o", delta, "-q",
                         "--delta-from", first.folder)  # fmt: skip
        found = delta.stat().st_size
        applied = packager("delta", "apply", first.folder, delta, "--key", first.public_file,
                           "-o", folder / "applied.tar", "-q")  # fmt: skip
        whole = folder / "whole.tar"
        packager("bundle", made.folder, "--key", first.public_file, "-o", whole, "-q")
        same = Digest.of_file(whole) == Digest.of_file(folder / "applied.tar")
        bound = BOUND if name == "fine-tune" else WHOLE_BOUND
        print(
            f"packager, {name}: {found} bytes ({100 * found / size:.2f} % of the weights, bound "
            f"{100 * bound:.0f} %), made in {taken.seconds:.2f} s with {taken.mebibytes:.0f} MiB, "
            f"applied in {applied.seconds:.2f} s with {applied.mebibytes:.0f} MiB, "
            f"{'the same bytes as the whole bundle' if same else 'NOT THE SAME BYTES'}"
        )
        for path in (whole, folder / "applied.tar"):
            path.unlink()


def _write(old: Path, new: Path, size: int, chance: np.random.Generator) -> int:
    """Write both versions; the number of bytes in changed initializers."""
    changed = written = 0
    with old.open("wb") as before, new.open("wb") as after:
        while written < size:
            count = int(chance.choice(SIZES))
            values = chance.standard_normal(count // 4, dtype=np.float32)
            before.write(values.tobytes())
            written += count
            if changed < SHARE * written and chance.random() < 2 * SHARE:
                values = values + chance.standard_normal(count // 4, dtype=np.float32) * 1e-3
                changed += count
            after.write(values.astype(np.float32).tobytes())
    return changed


def _grains(old: Path, new: Path, changed: int) -> None:
    def blob(path: Path) -> OldBlob:
        return OldBlob(Digest.of_file(path), path.stat().st_size, lambda: path.open("rb"))

    for bits in (12, 13, 14, 15, 16):
        start = time.perf_counter()
        recipe, _ = match(blob(new), ChunkIndex([blob(old)], bits), bits)
        seconds = time.perf_counter() - start
        total = recipe.new_bytes + len(recipe.as_bytes())
        print(
            f"  chunks of {1 << bits >> 10} KiB: {total} bytes, {100 * (total / changed - 1):+.3f} "
            f"% over by initializer, {len(recipe.runs)} runs, {seconds:.2f} s"
        )


def _tools(old: Path, new: Path, folder: Path, size: int) -> None:
    patch = folder / "patch"
    room = folder if str(folder).startswith(str(PEERS)) else None
    zstd = ["zstd", "-q", "-f", "--long=31", f"--patch-from={old}", new, "-o", patch]
    commands = {"zstd -3 --patch-from": zstd}
    if room:
        inside = {path: f"/{path.relative_to(PEERS)}" for path in (old, new, patch)}
        commands["xdelta3 -9 -S none"] = [
            "chroot", PEERS, "xdelta3", "-e", "-f", "-9", "-S", "none", "-B", str(min(size, 2**31)),
            "-s", inside[old], inside[new], inside[patch],
        ]  # fmt: skip
    else:
        print("  xdelta3: give a folder within the tree of peers to measure it")
    for name, command in commands.items():
        if not (shutil.which(str(command[0]))):
            continue
        taken = run(command)
        found = patch.stat().st_size
        print(
            f"  {name}: {found} bytes ({100 * found / size:.2f} %), {taken.seconds:.2f} s, "
            f"{taken.mebibytes:.0f} MiB"
        )


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 128,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
