"""Making and verifying a bundle, beside `cp` + `sha256sum` and a parallel `sha256sum` of the same
bytes, warm, in one run. Bounds: 0.8 of their speed, 200 MiB of memory.

    python -m benchmarks.border.bundle_speed [MiB of weights] [folder to work in]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.border.big_release import big_release, bytes_of
from benchmarks.border.figures import Figure, best, packager, run

BOUND, MEMORY_MIB = 0.8, 200
TIMES = 3


def figures(mebibytes: int = 1024, where: Path | None = None) -> Iterator[Figure]:
    """Speed as a share of theirs, and memory in MiB."""
    folder = Path(tempfile.mkdtemp(prefix="packager-border-", dir=where))
    try:
        yield from _measure(folder, mebibytes)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, mebibytes: int) -> Iterator[Figure]:
    weights = folder / "weights"
    run(["sh", "-c", f"head -c {mebibytes}M /dev/urandom > {weights}"])
    release = big_release(folder / "made", weights, "1.0.0")
    weights.unlink()
    key, size = release.public_file, bytes_of([release.folder])
    bundle, copy = folder / "b.tar", folder / "copy"
    theirs = best(
        TIMES,
        lambda: run(
            ["sh", "-c", f"cp -r --reflink=never {release.folder} {copy} && sync -f {copy} && "
             f"cd {copy} && sha256sum --quiet -c checksums.txt"]
        ),
        lambda: shutil.rmtree(copy),
    )  # fmt: skip
    ours = best(
        TIMES,
        lambda: packager("bundle", release.folder, "--key", key, "-o", bundle, "-q"),
        bundle.unlink,
    )
    packager("bundle", release.folder, "--key", key, "-o", bundle, "-q")
    yield Figure(
        f"making a bundle of {size >> 20} MiB: share of the speed of cp + sync + sha256sum",
        theirs.seconds / ours.seconds, BOUND, False,
        f"{ours.seconds:.2f} s, theirs {theirs.seconds:.2f} s",
    )  # fmt: skip
    yield Figure("making it: MiB of memory", ours.mebibytes, MEMORY_MIB)
    theirs = best(
        TIMES,
        lambda: run(
            ["sh", "-c", "cut -c67- checksums.txt | tr '\\n' '\\0' | "
             "xargs -0 -n 1 -P $(nproc) sha256sum"],
            cwd=release.folder,
        ),
        lambda: None,
    )  # fmt: skip
    for name, path in (("bundle", bundle), ("folder", release.folder)):
        ours = best(TIMES, lambda p=path: packager("verify", p, "--key", key, "-q"), lambda: None)
        yield Figure(
            f"verifying a {name}: share of the speed of a parallel sha256sum",
            theirs.seconds / ours.seconds, BOUND, False,
            f"{ours.seconds:.2f} s, theirs {theirs.seconds:.2f} s",
        )  # fmt: skip
        yield Figure(f"verifying a {name}: MiB of memory", ours.mebibytes, MEMORY_MIB)


if __name__ == "__main__":
    for figure in figures(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1024,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    ):
        print(figure, flush=True)
