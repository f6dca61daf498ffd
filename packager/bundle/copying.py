"""Copies one file of a release into a bundle: read once, hashed and written at the same time.

A file system that can share blocks (XFS, btrfs) is asked to share them: no second copy is made. In
any case the bytes that are hashed are the bytes that were written.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Protocol

from packager.bundle.members import ALIGNMENT
from packager.bundle.target import Target
from packager.digest import Digest

WINDOW = 2 << 20
Moved = Callable[[int], None]


class SourceUnreadable(Exception):
    """The file that is copied cannot be read; the disk that is written to is not at fault."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))


class Hash(Protocol):
    """What `hashlib` gives."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Copier:
    """Copies into one target, hashing in a thread of its own: `hashlib` and the kernel both
    let go of the interpreter. Not for use by several threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._buffers = (bytearray(WINDOW), bytearray(WINDOW))

    def close(self) -> None:
        self._pool.shutdown()

    def copy(
        self, source: BinaryIO, position: int, size: int, kept: int, moved: Moved
    ) -> Digest | None:
        """Bring `size` bytes of `source`, which stands at its start, to `position`; their digest.

        The first `kept` bytes are there from an earlier run. None when the source is shorter;
        raises SourceUnreadable when it cannot be read.
        """
        sha = hashlib.sha256()
        if kept == 0:
            kept = self._share(source, position, size)
        self._hash_written(position, kept, sha, moved)
        if kept:
            source.seek(kept)
        return self._append(source, position + kept, size - kept, sha, moved)

    def digest_written(self, position: int, size: int, moved: Moved) -> Digest:
        """Digest of bytes that stand in the target already."""
        sha = hashlib.sha256()
        self._hash_written(position, size, sha, moved)
        return Digest(sha.hexdigest())

    def _append(
        self, source: BinaryIO, position: int, size: int, sha: Hash, moved: Moved
    ) -> Digest | None:
        hashing: Future[None] | None = None
        done = 0
        turn = 0
        while done < size:
            window = memoryview(self._buffers[turn])[: min(WINDOW, size - done)]
            try:
                got = source.readinto(window)  # type: ignore[attr-defined]
            except OSError as error:
                raise SourceUnreadable(error) from error
            finally:
                if hashing:
                    hashing.result()
            if not got:
                return None
            hashing = self._pool.submit(sha.update, window[:got])
            self._target.write_at(position + done, window[:got])
            done += got
            turn = 1 - turn
            moved(got)
        if hashing:
            hashing.result()
        return Digest(sha.hexdigest())

    def _hash_written(self, position: int, size: int, sha: Hash, moved: Moved) -> None:
        window = memoryview(self._buffers[0])
        done = 0
        while done < size:
            got = self._target.read_into(position + done, window[: min(WINDOW, size - done)])
            if not got:
                raise OSError(errno.EIO, "the bundle became shorter while it was written")
            sha.update(window[:got])
            done += got
            moved(got)

    def _share(self, source: BinaryIO, position: int, size: int) -> int:
        """Bytes that the target now shares with the source, a multiple of the block size."""
        length = size - size % ALIGNMENT
        handle = _plain_handle(source)
        if handle is None or not length or not self._target.share(handle, length, position):
            return 0
        return length


def _plain_handle(source: BinaryIO) -> int | None:
    """The descriptor of a source that is a file from its own start to its own end."""
    try:
        handle = source.fileno()
    except (OSError, AttributeError):
        return None
    return handle if os.lseek(handle, 0, os.SEEK_CUR) == 0 else None
