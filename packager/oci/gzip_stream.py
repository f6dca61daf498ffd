"""Gzip with bytes that we answer for: one member, our own header, deflate in parallel.

The ten bytes of the header are written here (RFC 1952 §2.3: no name, mtime 0, OS 255 "unknown"),
since Python's own differ between versions. The data is cut into blocks of 1 MiB; each is deflated
in its own thread with the 32 KiB before it as dictionary and ends on a byte boundary (a sync
flush), as pigz does, so that the blocks follow one another as one deflate stream. Blocks are cut by
position only: the bytes do not depend on the number of threads or on how the input was sliced.

Deflate is zlib-ng's, in one pinned version that is built into its wheel: Python's `zlib` is
whatever the system has, and another zlib gives other bytes. Its output was compared between x86-64
with and without AVX and arm64 (docs/adr/0006): the same.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from zlib_ng import zlib_ng

from packager.oci.tar_sink import Sink

LEVEL = 6
BLOCK = 1 << 20
WINDOW = 1 << 15
HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
IMPLEMENTATION = f"zlib-ng {zlib_ng.ZLIBNG_VERSION} level {LEVEL} block {BLOCK}"


class GzipStream:
    """Compresses what is written to it, in order, into `sink`.

    A context manager: leaving it without an exception finishes the stream. At most three blocks a
    thread are in memory at a time.
    """

    def __init__(self, sink: Sink, *, threads: int | None = None) -> None:
        self._sink = sink
        self._threads = threads or min(16, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="gzip")
        self._pending: deque[Future[bytes]] = deque()
        self._block = bytearray()
        self._window = b""
        self._crc = 0
        self._size = 0
        sink.write(HEADER)

    def __enter__(self) -> GzipStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def write(self, data: bytes) -> int:
        """Take the next bytes of the plain stream."""
        self._crc = zlib_ng.crc32(data, self._crc)
        self._size += len(data)
        rest = memoryview(data)
        while rest:
            # A full block waits for the next byte: only then is it known not to be the last one.
            if len(self._block) == BLOCK:
                self._submit(last=False)
            taken = rest[: BLOCK - len(self._block)]
            self._block += taken
            rest = rest[len(taken) :]
        return len(data)

    def _submit(self, *, last: bool) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._pending.append(self._pool.submit(_deflate, block, self._window, last))
        self._window = block[-WINDOW:]
        while len(self._pending) > 2 * self._threads:
            self._sink.write(self._pending.popleft().result())

    def _finish(self) -> None:
        self._submit(last=True)
        while self._pending:
            self._sink.write(self._pending.popleft().result())
        self._sink.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


def _deflate(block: bytes, window: bytes, last: bool) -> bytes:
    raw = (LEVEL, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS)
    if window:
        settings = (zlib_ng.DEF_MEM_LEVEL, zlib_ng.Z_DEFAULT_STRATEGY)
        deflater = zlib_ng.compressobj(*raw, *settings, window)
    else:
        deflater = zlib_ng.compressobj(*raw)
    end = zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH
    return deflater.compress(block) + deflater.flush(end)
