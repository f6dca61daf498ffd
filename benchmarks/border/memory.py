"""Memory and disk with a big bundle: making, verifying, splitting it, and a delta of it.

The weights are zeros but for a random page in every MiB, so that they take no room as a source. The
bundle is written as it is. Bounds: 200 MiB of memory; on the disk, while it works, 1.05 times what
comes out.

    python -m benchmarks.border.memory [GiB of weights] [folder to work in]
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from benchmarks.border.big_release import big_release
from benchmarks.border.figures import Run, packager

MEMORY_MIB, DISK = 200, 1.05
MEBI = 1 << 20


def main(gibibytes: int = 10, where: Path | None = None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="packager-memory-", dir=where))
    try:
        _measure(folder, gibibytes << 30)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, size: int) -> None:
    old, new = folder / "old", folder / "new"
    for path, seed in ((old, "old"), (new, "new")):
        with path.open("wb") as stream:
            stream.truncate(size)
            for start in range(0, size, MEBI):
                stream.seek(start)
                # One MiB in twenty differs between the two.
                same = start // MEBI % 20
                content = random.Random(f"{'same' if same else seed}{start}")
                stream.write(content.randbytes(4096))
    first = big_release(folder / "first", old, "1.0.0")
    second = big_release(folder / "second", new, "1.1.0", first.key_file)
    for path in folder.glob("*/store/blobs/*/*"):  # the release has links to them
        if path.stat().st_size > MEBI:
            os.system(f"fallocate --dig-holes '{path}'")
    key = ("--key", first.public_file, "-q")
    whole, delta, made = folder / "whole.tar", folder / "delta.tar", folder / "made.tar"
    _tell("bundle", *_watched(folder, "bundle", second.folder, *key, "-o", whole))
    _tell("verify", *_watched(folder, "verify", whole, *key))
    _tell("delta", *_watched(folder, "bundle", second.folder, *key, "-o", delta,
                             "--delta-from", first.folder))  # fmt: skip
    print(f"  the delta has {delta.stat().st_size >> 20} MiB of {whole.stat().st_size >> 20}")
    whole.unlink()
    _tell("apply", *_watched(folder, "delta", "apply", first.folder, delta, *key, "-o", made))
    made.unlink()
    parts = folder / "parts"
    _tell("split", *_watched(folder, "bundle", second.folder, *key, "-o", parts, "--split", "1G",
                             "--signing-key", first.key_file))  # fmt: skip
    _tell("verify parts", *_watched(folder, "verify", parts, *key))


def _watched(folder: Path, *words: object) -> tuple[Run, int, int]:
    """A command; how much more disk the folder took at most, and takes afterwards."""
    before, most = _taken(folder), 0
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.2):
            most = max(most, _taken(folder) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        done = packager(*words)
    finally:
        over.set()
        watcher.join()
    left = _taken(folder) - before
    return done, max(most, left), left


def _taken(folder: Path) -> int:
    seen: dict[int, int] = {}
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        seen[found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def _tell(name: str, done: Run, most: int, left: int) -> None:
    share = f", {most / left:.3f} times what came out (bound {DISK})" if left > MEBI else ""
    print(
        f"{name}: {done.seconds:.1f} s, {done.mebibytes:.0f} MiB of memory (bound {MEMORY_MIB}), "
        f"at most {most >> 20} MiB more on the disk{share}",
        flush=True,
    )


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 10,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
