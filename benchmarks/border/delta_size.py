"""What a fine-tune's delta weighs and costs, beside zstd --patch-from, xdelta3 and bsdiff.

Initializers of 4 KiB to 4 MiB of float32, 5 % of their bytes changed a little, as a fine-tune of
some layers does. Bounds: the delta bundle at most 8 % of the weights; where all weights changed, at
most the new blobs and 2 %. "by initializer" is what a delta that knows the model would carry: every
changed initializer whole, nothing else.

    python -m benchmarks.border.delta_size [MiB of weights] [folder to work in]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.border.big_release import big_release
from benchmarks.border.figures import Figure, packager
from benchmarks.border.patching import patches, room
from packager.bundle.matching import ChunkIndex, OldBlob, match
from packager.digest import Digest

SIZES = (4 << 10, 64 << 10, 512 << 10, 1 << 20, 4 << 20)
SHARE, BOUND, WHOLE_BOUND = 0.05, 8.0, 102.0
MEMORY_MIB = 200


def figures(mebibytes: int = 128, where: Path | None = None) -> Iterator[Figure]:
    """Sizes in percent of the weights; memory in MiB."""
    folder = Path(tempfile.mkdtemp(prefix="packager-delta-", dir=where or room()))
    try:
        yield from _measure(folder, mebibytes << 20)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, size: int) -> Iterator[Figure]:
    chance = np.random.default_rng(1)
    old, new, other = (folder / name for name in ("old", "new", "other"))
    changed = _write(old, new, size, chance)
    other.write_bytes(chance.bytes(old.stat().st_size))
    size = old.stat().st_size
    yield Figure(
        f"by initializer: % of {size >> 20} MiB of weights", 100 * changed / size,
        told=f"{changed} bytes",
    )  # fmt: skip
    yield from _grains(old, new, changed)
    for one in patches(old, new, folder):
        yield Figure(
            f"{one.name}, fine-tune: % of the weights", 100 * one.size / size,
            told=f"made in {one.made.seconds:.2f} s with {one.made.mebibytes:.0f} MiB, "
            f"applied in {one.applied.seconds:.2f} s with {one.applied.mebibytes:.0f} MiB",
        )  # fmt: skip
    first = big_release(folder / "first", old, "1.0.0")
    for name, weights, version in (("fine-tune", new, "1.1.0"), ("new weights", other, "2.0.0")):
        made = big_release(folder / version, weights, version, first.key_file)
        delta = folder / f"{version}.tar"
        taken = packager("bundle", made.folder, "--key", first.public_file, "-o", delta, "-q",
                         "--delta-from", first.folder)  # fmt: skip
        applied = packager("delta", "apply", first.folder, delta, "--key", first.public_file,
                           "-o", folder / "applied.tar", "-q")  # fmt: skip
        whole = folder / "whole.tar"
        packager("bundle", made.folder, "--key", first.public_file, "-o", whole, "-q")
        if Digest.of_file(whole) != Digest.of_file(folder / "applied.tar"):
            raise SystemExit(f"{name}: applied, the delta does not give the whole bundle's bytes")
        yield Figure(
            f"packager, {name}: % of the weights", 100 * delta.stat().st_size / size,
            BOUND if name == "fine-tune" else WHOLE_BOUND,
            told=f"made in {taken.seconds:.2f} s with {taken.mebibytes:.0f} MiB, applied and "
            f"verified in {applied.seconds:.2f} s with {applied.mebibytes:.0f} MiB, the same bytes "
            "as the whole bundle",
        )  # fmt: skip
        yield Figure(
            f"packager, {name}: MiB of memory", max(taken.mebibytes, applied.mebibytes), MEMORY_MIB
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


def _grains(old: Path, new: Path, changed: int) -> Iterator[Figure]:
    def blob(path: Path) -> OldBlob:
        return OldBlob(Digest.of_file(path), path.stat().st_size, lambda: path.open("rb"))

    for bits in (12, 13, 14, 15, 16):
        start = time.perf_counter()
        recipe, _ = match(blob(new), ChunkIndex([blob(old)], bits), bits)
        seconds = time.perf_counter() - start
        total = recipe.new_bytes + len(recipe.as_bytes())
        yield Figure(
            f"chunks of {1 << bits >> 10} KiB: % over by initializer", 100 * (total / changed - 1),
            told=f"{len(recipe.runs)} runs, {seconds:.2f} s",
        )  # fmt: skip


if __name__ == "__main__":
    for figure in figures(
        int(sys.argv[1]) if len(sys.argv) > 1 else 128,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    ):
        print(figure, flush=True)
