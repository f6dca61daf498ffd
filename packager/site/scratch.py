"""Room for what an installation needs for a moment: a whole bundle, or a model made plain.

A process that is killed cannot tidy up. It holds a lock on its folder, though, which the kernel
lets go of, so that the next run knows whose folder is nobody's and sweeps it away. A plain model
lies in memory where there is room for it: no disk has to be wiped of it, and a power cut leaves
nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packager.workspace import telling_output_errors

PREFIX = ".whole-"
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a random name that only the owner enters
_SPARE = 256 << 20


@contextmanager
def scratch_folder(near: Path | None) -> Iterator[Path]:
    """A folder in `near` (None: where temporary files go) that only the owner may enter.

    It is gone afterwards; what killed runs left there goes first. Raises OutputError.
    """
    parent = near or Path(tempfile.gettempdir())
    sweep(parent)
    with telling_output_errors(parent):
        folder, lock = _locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def secret_folder(near: Path | None, size: int) -> Iterator[Path]:
    """As `scratch_folder`, in memory when `size` bytes fit there beside all that runs."""
    sweep(MEMORY)
    with scratch_folder(MEMORY if fits_in_memory(size) else near) as folder:
        yield folder


def fits_in_memory(size: int) -> bool:
    """Whether `size` bytes may lie in memory while an engine reads as many: half is left free."""
    try:
        free = shutil.disk_usage(MEMORY).free
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = {
            name: int(rest.split()[0]) for name, _, rest in (it.partition(":") for it in lines)
        }
    except (OSError, ValueError, IndexError):
        return False
    return min(free, kibibytes.get("MemAvailable", 0) * 1024 // 2) >= size + _SPARE


def sweep(parent: Path) -> None:
    """Remove the folders of processes that are gone; whatever is not ours to remove stays."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = _lock(folder)
        except OSError:
            continue  # in use, no folder, or somebody else's
        if os.fstat(lock).st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(parent: Path) -> tuple[Path, int]:
    """A new folder and the lock on it; made again when a sweep of another run was faster."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = _lock(folder)
        except (BlockingIOError, FileNotFoundError):
            continue
        if folder.exists():
            return folder, lock
        os.close(lock)


def _lock(folder: Path) -> int:
    """Raises BlockingIOError while another process holds it, OSError for what is no folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
