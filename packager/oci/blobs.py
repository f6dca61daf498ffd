"""A folder of blobs, each named by its SHA-256 (image-spec, "OCI Image Layout", `blobs/`).

Blobs arrive under a scratch name and are renamed into place when they are whole, so a reader never
meets half a blob and two writers of one blob do no harm. A scratch file is locked by its writer;
one that nobody locks belongs to a process that was killed, and is swept away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from packager.digest import Digest
from packager.hashed import digest_once, remember
from packager.workspace import telling_output_errors

BLOB_MODE = 0o644
_SCRATCH = "incoming-"


class IncomingBlob:
    """A blob that is being written: counts and hashes what goes through."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        """Digest of what was written so far."""
        return Digest(self._sha.hexdigest())

    def write(self, data: bytes) -> int:
        """Append `data`."""
        self._sha.update(data)
        self._stream.write(data)
        self.size += len(data)
        return len(data)


class BlobFolder:
    """`<folder>/sha256/<hex>`; made when it does not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sha256"
        with telling_output_errors(folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            _sweep(self._folder)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._folder / digest.hex

    def put(self, data: bytes) -> Digest:
        """Store a small blob whole."""
        with self.incoming() as blob:
            blob.write(data)
        return blob.digest

    @contextmanager
    def incoming(self) -> Iterator[IncomingBlob]:
        """A blob that is stored under its digest when the block ends without an exception."""
        with telling_output_errors(self._folder), _locked_scratch(self._folder) as (stream, name):
            blob = IncomingBlob(stream)
            yield blob
            stream.flush()
            os.fchmod(stream.fileno(), BLOB_MODE)
            name.replace(self.path(blob.digest))
            remember(self.path(blob.digest), blob.digest)

    def holds(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is here with exactly the bytes that its name promises.

        The bytes are hashed once a process, and again when the file changed since.
        """
        path = self.path(digest)
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or size not in (None, found.st_size):
                return False
            return digest_once(path) == digest
        except OSError:
            return False


@contextmanager
def _locked_scratch(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    stream, name = _open_locked(folder)
    try:
        with stream:
            yield stream, name
    finally:
        name.unlink(missing_ok=True)


def _open_locked(folder: Path) -> tuple[IO[bytes], Path]:
    """A new scratch file that carries our lock; another process may sweep it before it does."""
    while True:
        handle, text = tempfile.mkstemp(prefix=_SCRATCH, dir=folder)
        stream = os.fdopen(handle, "wb")
        with contextlib.suppress(OSError):  # a file system without locks: sweeping finds none too
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return stream, Path(text)
        stream.close()


def _sweep(folder: Path) -> None:
    """Remove scratch files that nobody is writing any more."""
    for leftover in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError), leftover.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink(missing_ok=True)
