"""Tools of others that write the difference of two files: what one costs, and what it weighs.

zstd is this machine's; xdelta3 and bsdiff are Debian 13's, run by chroot into the tree of peers
(`tests/peers/install.sh`), for which the files must lie in there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.border.figures import Run, run

PEERS = Path(os.environ.get("PACKAGER_PEERS_ROOT", "/var/lib/packager-peers"))
_MOST = 2**31  # of a source that xdelta3 looks at


@dataclass(frozen=True)
class Patched:
    """`size` of the patch; what making and applying it took."""

    name: str
    size: int
    made: Run
    applied: Run


def room() -> Path | None:
    """Where files must lie for all tools to reach them, None when there is no tree of peers."""
    return PEERS / "var/tmp" if (PEERS / "usr/bin/xdelta3").is_file() else None


def patches(old: Path, new: Path, folder: Path) -> Iterator[Patched]:
    """Each tool that is there, on the same two files; fails when what it rebuilds is not `new`."""
    patch, back = folder / "patch", folder / "back"
    for name, making, applying in _tools(old, new, patch, back):
        made, applied = run(making), run(applying)
        run(["cmp", new, back])
        yield Patched(name, patch.stat().st_size, made, applied)
        for path in (patch, back):
            path.unlink()


def _tools(
    old: Path, new: Path, patch: Path, back: Path
) -> Iterator[tuple[str, Sequence[object], Sequence[object]]]:
    zstd = ("zstd", "-q", "-f", "--long=31", f"--patch-from={old}")
    for level in ("-3", "-19"):
        yield (
            f"zstd {level} --patch-from",
            (*zstd, level, "-T0", new, "-o", patch),
            (*zstd, "--memory=2048MB", "-d", patch, "-o", back),
        )
    if not patch.is_relative_to(PEERS):
        return
    o, n, p, b = (f"/{path.relative_to(PEERS)}" for path in (old, new, patch, back))
    inside = ("chroot", PEERS)
    window = ("-B", str(min(old.stat().st_size, _MOST)))
    yield (
        "xdelta3 -9 -S none",
        (*inside, "xdelta3", "-e", "-f", "-9", "-S", "none", *window, "-s", o, n, p),
        (*inside, "xdelta3", "-d", "-f", *window, "-s", o, p, b),
    )
    if (PEERS / "usr/bin/bsdiff").is_file():
        yield "bsdiff", (*inside, "bsdiff", o, n, p), (*inside, "bspatch", o, b, p)
