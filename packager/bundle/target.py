"""Where a bundle is written to: scratch beside its destination, renamed when it is whole.

One file, or a folder of parts; either way one run of bytes to the writer, and one rename at the
end. The scratch's name follows from what is being written, so that a run that was interrupted is
continued by the next one. It is locked while somebody writes; one that nobody locks and that
belongs to another bundle of the same name is swept away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from packager.bundle.members import ALIGNMENT
from packager.digest import Digest
from packager.errors import OutputError
from packager.workspace import refuse_existing, telling_output_errors

_PREFIX = ".packager-bundle-"
_LOCK = "lock"
_FILE_MODE = 0o644
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
# linux/fs.h: FICLONERANGE, struct file_clone_range {src_fd, src_offset, src_length, dest_offset}
_CLONE_RANGE = 0x4020940D
_CANNOT_CLONE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}


@dataclass
class Target:
    """A run of bytes on files of at most `part_size` bytes each; `path` names the n-th one."""

    path: Callable[[int], Path]
    part_size: int
    _handles: dict[int, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Bytes that are there from an earlier run, checked by nobody."""
        total = number = 0
        while self.path(number).is_file():
            size = self.path(number).stat().st_size
            total += min(size, self.part_size)
            if size != self.part_size:
                break
            number += 1
        return total

    def write_at(self, position: int, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            handle, inside, room = self._place(position)
            written = os.pwrite(handle, view[:room], inside)
            position += written
            view = view[written:]

    def read_into(self, position: int, buffer: memoryview) -> int:
        """Read back what was written; fewer bytes than asked for at the end of a part."""
        handle, inside, room = self._place(position)
        return os.preadv(handle, [buffer[:room]], inside)

    def share(self, source: int, length: int, position: int) -> bool:
        """Whether the file system could share the first `length` bytes of a file with us."""
        handle, inside, room = self._place(position)
        if length > room or length % ALIGNMENT or inside % ALIGNMENT:
            return False
        try:
            fcntl.ioctl(handle, _CLONE_RANGE, struct.pack("qQQQ", source, 0, length, inside))
        except OSError as error:
            if error.errno in _CANNOT_CLONE:
                return False
            raise
        return True

    def finish(self, size: int) -> list[Path]:
        """Cut everything to `size` bytes and bring it to the disk; the files, in order."""
        count = max(1, -(-size // self.part_size))
        for number in range(count):
            handle = self._handle(number)
            os.ftruncate(handle, min(self.part_size, size - number * self.part_size))
            os.fchmod(handle, _FILE_MODE)
            os.fsync(handle)
        files = [self.path(number) for number in range(count)]
        while (surplus := self.path(count)) not in files and surplus.exists():
            surplus.unlink()
            count += 1
        return files

    def close(self) -> None:
        """Close all files."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def _place(self, position: int) -> tuple[int, int, int]:
        """File, position in it, and how many bytes it has room for from there."""
        number, inside = divmod(position, self.part_size)
        return self._handle(number), inside, self.part_size - inside

    def _handle(self, number: int) -> int:
        if number not in self._handles:
            self._handles[number] = os.open(self.path(number), _FLAGS, _FILE_MODE)
        return self._handles[number]


@contextmanager
def one_file(output: Path, identity: Digest) -> Iterator[Target]:
    """A target that becomes the file `output` when the block ends without an exception.

    After an exception it stays, to be continued. Raises OutputError when `output` exists, when
    another process writes it, or when the disk says no.
    """
    with _scratch(output, identity) as scratch, telling_output_errors(output):
        target = Target(lambda _: scratch, 1 << 62)
        scratch.touch(_FILE_MODE)
        with contextlib.closing(target), _locked(scratch, output):
            yield target
            _publish(scratch, output)


@contextmanager
def folder_of_parts(
    output: Path, identity: Digest, part_size: int, name: Callable[[int], str]
) -> Iterator[tuple[Target, Path]]:
    """A target on parts, and the folder that becomes `output`; otherwise as `one_file`.

    `name` gives the name of the n-th part, counted from 0.
    """
    with _scratch(output, identity) as scratch, telling_output_errors(output):
        scratch.mkdir(0o755, exist_ok=True)
        lock = scratch / _LOCK
        lock.touch()
        target = Target(lambda number: scratch / name(number), part_size)
        with contextlib.closing(target), _locked(lock, output):
            yield target, scratch
            for path in scratch.iterdir():
                sync(path)
            lock.unlink()
            sync(scratch)
            _publish(scratch, output)


def sync(path: Path) -> None:
    """Bring a file or the names in a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _scratch(output: Path, identity: Digest) -> Iterator[Path]:
    refuse_existing(output)
    scratch = output.parent / f"{_PREFIX}{output.name}-{identity.hex[:16]}"
    with telling_output_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        _sweep(output, scratch)
    yield scratch


@contextmanager
def _locked(lock: Path, output: Path) -> Iterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                "another process writes this bundle",
                where=str(output),
                next_step="wait until it is done",
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _publish(scratch: Path, output: Path) -> None:
    refuse_existing(output)
    scratch.rename(output)
    sync(output.parent)


def _sweep(output: Path, ours: Path) -> None:
    for leftover in output.parent.glob(f"{_PREFIX}*"):
        stem = leftover.name.removeprefix(_PREFIX).rpartition("-")[0]
        if stem != output.name or leftover == ours:
            continue
        lock = leftover / _LOCK if leftover.is_dir() else leftover
        with contextlib.suppress(OSError), lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
