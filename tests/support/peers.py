"""The tools of others that must agree with ours: cosign and skopeo of Debian 13.

They live in a tree of their own (`tests/peers/install.sh`), found by PACKAGER_PEERS_ROOT, and run
by chroot; files go into a room of that tree which is removed afterwards. On Debian 13 itself, set
PACKAGER_PEERS_ROOT=/ and they run as they are. `offline` gives a tool no network at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engines import missing

PEERS_ROOT = Path(os.environ.get("PACKAGER_PEERS_ROOT", "/var/lib/packager-peers"))


@dataclass(frozen=True)
class Peers:
    """A room in the tree. `bring` copies into it, `run` runs a tool that sees it."""

    root: Path
    room: Path

    def bring(self, source: Path, name: str | None = None) -> str:
        """Copy a file or folder into the room; its path as a tool sees it."""
        target = self.room / (name or source.name)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        return self.inside(target)

    def write(self, name: str, text: str) -> str:
        """Write a file into the room; its path as a tool sees it."""
        (self.room / name).parent.mkdir(parents=True, exist_ok=True)
        (self.room / name).write_text(text)
        return self.inside(self.room / name)

    def inside(self, path: Path) -> str:
        """A path of the room as a tool sees it."""
        return f"/{path.relative_to(self.root)}"

    def run(self, *command: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a tool; never raises for its exit status. 60 s at most."""
        change = [] if self.root == Path("/") else ["chroot", str(self.root)]
        cut_off = ["unshare", "--net"] if offline else []
        home = self.inside(self.room)
        return subprocess.run(
            [*cut_off, *change, "/usr/bin/env", f"HOME={home}", "PATH=/usr/bin:/bin", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def peers(*tools: str) -> Iterator[Peers]:
    """A room for the tools named; skips, or fails where engines are required, without them."""
    root = PEERS_ROOT.resolve()
    for tool in tools:
        if not (root / "usr/bin" / tool).exists():
            missing(f"{tool} is not in {PEERS_ROOT}: run tests/peers/install.sh")
    if os.geteuid() != 0:
        missing("changing into the tree of the peers needs root")
    room = Path(tempfile.mkdtemp(prefix="packager-", dir=root / "tmp"))
    try:
        yield Peers(root, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)
