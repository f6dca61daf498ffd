"""Blobs of bases in the cache, each under its digest; what broke off is taken up where it stopped.

A blob grows in a file of its own beside the others and gets its name when its digest is right. The
piece of a run that was killed stays there for the next one; only one process at a time writes it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from packager.digest import CHUNK, Digest
from packager.domain.artifact import Descriptor
from packager.errors import LockError, UnavailableError
from packager.oci.base_source import BaseSource
from packager.oci.blobs import BLOB_MODE, BlobFolder
from packager.progress import Progress
from packager.workspace import cache_folder, telling_output_errors

_ATTEMPTS = 5  # in a row without a byte that is new


class BaseBlobs:
    """`bases/` of the cache."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._blobs = BlobFolder(folder)
        self._progress = progress

    @classmethod
    def in_cache(cls, progress: Progress) -> BaseBlobs:
        return cls(cache_folder() / "bases", progress)

    def path(self, digest: Digest) -> Path:
        return self._blobs.path(digest)

    def holds(self, digest: Digest, size: int | None = None) -> bool:
        return self._blobs.holds(digest, size)

    def look_at(self, descriptors: Sequence[Descriptor]) -> None:
        """Hash side by side what of them is here, so that `holds` knows each already."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="base") as pool:
            list(pool.map(lambda one: self.holds(one.digest, one.size), descriptors))

    def keep(self, data: bytes) -> None:
        """Store a document whose digest was compared."""
        self._blobs.put(data)

    def bring(self, descriptor: Descriptor, source: BaseSource, what: str) -> None:
        """Download a blob. Raises LockError for other bytes, UnavailableError for none."""
        target = self.path(descriptor.digest)
        partial = target.with_name(f"partial-{descriptor.digest.hex}")
        with telling_output_errors(target), partial.open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # another process may be at it: then it is there
            if self.holds(descriptor.digest, descriptor.size):
                return
            taken_up = stream.tell() > 0
            self._complete(stream, descriptor, source, what)
            stream.flush()
            got = Digest.of_file(partial)
            if got != descriptor.digest and taken_up:  # the piece that lay there may be spoilt
                _empty(stream)
                self._complete(stream, descriptor, source, what)
                stream.flush()
                got = Digest.of_file(partial)
            if got != descriptor.digest:
                partial.unlink(missing_ok=True)
                raise LockError(
                    f"the {what} is not what the base's manifest names",
                    where=str(descriptor.digest),
                    expected=f"{descriptor.digest}, {descriptor.size} bytes",
                    got=str(got),
                    next_step="name another registry or copy; do not pin the base anew before you "
                    "know why",
                )
            os.fchmod(stream.fileno(), BLOB_MODE)
            partial.replace(target)

    def _complete(
        self, stream: IO[bytes], descriptor: Descriptor, source: BaseSource, what: str
    ) -> None:
        failures = 0
        if stream.tell() > descriptor.size:
            _empty(stream)
        while (there := stream.tell()) < descriptor.size:
            try:
                self._read_on(stream, descriptor, source, what)
                failures = failures + 1 if stream.tell() == there else 0
            except UnavailableError:
                failures = failures + 1 if stream.tell() == there else 0
                if failures >= _ATTEMPTS:
                    raise
            if failures >= _ATTEMPTS:
                raise UnavailableError(
                    f"the {what} ends too early, again and again",
                    where=str(descriptor.digest),
                    expected=f"{descriptor.size} bytes",
                    got=f"{stream.tell()} bytes",
                )

    def _read_on(
        self, stream: IO[bytes], descriptor: Descriptor, source: BaseSource, what: str
    ) -> None:
        with source.blob(descriptor.digest, stream.tell()) as found:
            if found.offset != stream.tell():
                _empty(stream)
            while (left := descriptor.size - stream.tell()) > 0:
                piece = found.stream.read1(min(CHUNK, left))
                if not piece:
                    return
                stream.write(piece)
                self._progress.advance(what, stream.tell(), descriptor.size)


def _empty(stream: IO[bytes]) -> None:
    stream.seek(0)
    stream.truncate(0)
