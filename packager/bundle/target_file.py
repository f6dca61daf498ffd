"""Where a bundle is written to: a scratch file beside its destination, renamed when it is whole.

The scratch file's name follows from what is being written, so that a run that was interrupted is
continued by the next one. It is locked while somebody writes; one that nobody locks and that
belongs to another bundle of the same name is swept away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packager.digest import Digest
from packager.errors import OutputError
from packager.workspace import refuse_existing, telling_output_errors

_PREFIX = ".packager-bundle-"
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class TargetFile:
    """An open scratch file. `kept` bytes are there from an earlier run, checked by nobody."""

    handle: int
    kept: int

    def write_at(self, position: int, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.handle, view, position)
            position += written
            view = view[written:]

    def read_into(self, position: int, buffer: memoryview) -> int:
        """Read back what was written."""
        return os.preadv(self.handle, [buffer], position)

    def cut(self, size: int) -> None:
        """Forget everything from `size` on."""
        os.ftruncate(self.handle, size)


@contextmanager
def target_file(output: Path, identity: Digest) -> Iterator[TargetFile]:
    """A scratch file for `output`, published when the block ends without an exception.

    After an exception it stays, to be continued. Raises OutputError when `output` exists, when
    another process writes it, or when the disk says no.
    """
    refuse_existing(output)
    scratch = output.parent / f"{_PREFIX}{output.name}-{identity.hex[:16]}"
    with telling_output_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        _sweep(output, scratch)
        handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        with telling_output_errors(output):
            if not _locked(handle):
                raise OutputError(
                    "another process writes this bundle",
                    where=str(output),
                    next_step="wait until it is done",
                )
            yield TargetFile(handle, os.fstat(handle).st_size)
            os.fchmod(handle, _MODE)
            os.fsync(handle)
            refuse_existing(output)
            scratch.rename(output)
            sync_folder(output.parent)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(output: Path, ours: Path) -> None:
    for leftover in output.parent.glob(f"{_PREFIX}*"):
        stem = leftover.name.removeprefix(_PREFIX).rpartition("-")[0]
        if stem != output.name or leftover == ours:
            continue
        with contextlib.suppress(OSError), leftover.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink(missing_ok=True)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
