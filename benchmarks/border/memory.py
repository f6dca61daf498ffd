"""Memory and disk with a big bundle: making, verifying, splitting, joining it, and a delta of it.

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
from collections.abc import Iterator
from pathlib import Path

from benchmarks.border.big_release import big_release
from benchmarks.border.figures import Figure, Run, packager

MEMORY_MIB, DISK = 200, 1.05
MEBI = 1 << 20


def figures(gibibytes: int = 10, where: Path | None = None) -> Iterator[Figure]:
    """Memory in MiB; room on the disk as a share of what comes out."""
    folder = Path(tempfile.mkdtemp(prefix="packager-memory-", dir=where))
    try:
        yield from _measure(folder, gibibytes << 30)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, size: int) -> Iterator[Figure]:
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
    yield from _told("bundle", *_watched(folder, "bundle", second.folder, *key, "-o", whole))
    yield from _told("verify", *_watched(folder, "verify", whole, *key))
    yield from _told("delta", *_watched(folder, "bundle", second.folder, *key, "-o", delta,
                                        "--delta-from", first.folder))  # fmt: skip
    yield Figure("the delta: % of the whole bundle", 100 * _size(delta) / _size(whole))
    whole.unlink()
    yield from _told(
        "apply", *_watched(folder, "delta", "apply", first.folder, delta, *key, "-o", made)
    )
    made.unlink()
    parts = folder / "parts"
    cut = ("--split", "1G", "--signing-key", first.key_file)
    yield from _told("split", *_watched(folder, "bundle", second.folder, *key, "-o", parts, *cut))
    yield from _told("verify parts", *_watched(folder, "verify", parts, *key))
    yield from _told("join", *_watched(folder, "bundle", parts, *key, "-o", made))


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


def _size(path: Path) -> int:
    return path.stat().st_size


def _told(name: str, done: Run, most: int, left: int) -> Iterator[Figure]:
    seconds = f"{done.seconds:.1f} s"
    yield Figure(f"{name}: MiB of memory", done.mebibytes, MEMORY_MIB, told=seconds)
    if left > MEBI:
        more = f"{most >> 20} MiB at most"
        yield Figure(f"{name}: room on the disk / what comes out", most / left, DISK, told=more)
    else:
        yield Figure(f"{name}: MiB more on the disk", most / MEBI, 1.0)


if __name__ == "__main__":
    for figure in figures(
        int(sys.argv[1]) if len(sys.argv) > 1 else 10,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    ):
        print(figure, flush=True)
