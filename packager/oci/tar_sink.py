"""What the tar writer asks of a stream that it only writes: `write` and `tell`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import BinaryIO, Protocol, cast

from packager.archive import Entry, write_tar
from packager.digest import Digest


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object: ...


class _TarSink:
    """Passes a tar on to `sink`, counting, and hashing where its digest is asked for."""

    def __init__(self, sink: Sink, *, hashing: bool) -> None:
        self._sink = sink
        self._position = 0
        self.sha = hashlib.sha256() if hashing else None

    def write(self, data: bytes) -> int:
        if self.sha:
            self.sha.update(data)
        self._sink.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


def write_tar_to(
    sink: Sink, entries: Iterable[Entry], *, mtime: int = 0, hashing: bool = False
) -> Digest | None:
    """Write a tar to something that cannot seek; its digest when `hashing`."""
    tar = _TarSink(sink, hashing=hashing)
    write_tar(cast(BinaryIO, tar), entries, mtime=mtime)
    return Digest(tar.sha.hexdigest()) if tar.sha else None
