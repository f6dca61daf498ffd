"""One run of bytes on one file or on several parts, read at any position by any thread."""

from __future__ import annotations

import io
import os
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from packager.release_source import open_plain


class Volume(Protocol):
    """Bytes that can be read at any position; `read_at` gives fewer only at the end."""

    @property
    def size(self) -> int: ...

    def read_at(self, position: int, length: int) -> bytes: ...

    def read_into(self, position: int, buffer: memoryview) -> int: ...


class FileVolume:
    """Open files, one after the other as if they were one. Closed when nobody holds it any more."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises OSError for a link, a device, or what is not there."""
        self._paths = tuple(paths)
        self._handles: list[int] = []
        weakref.finalize(self, _close, self._handles)
        self._starts: list[int] = []
        self.size = 0
        for path in paths:
            with open_plain(path) as stream:
                self._handles.append(os.dup(stream.fileno()))
            self._starts.append(self.size)
            self.size += os.fstat(self._handles[-1]).st_size

    def read_at(self, position: int, length: int) -> bytes:
        """`length` bytes at `position`, fewer at the end."""
        buffer = bytearray(min(length, max(0, self.size - position)))
        got = self.read_into(position, memoryview(buffer))
        return bytes(buffer[:got])

    def read_into(self, position: int, buffer: memoryview) -> int:
        """Fill `buffer` from `position` on; the number of bytes, fewer only at the end."""
        done = 0
        while done < len(buffer) and position + done < self.size:
            number = bisect_right(self._starts, position + done) - 1
            inside = position + done - self._starts[number]
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self.size
            window = buffer[done : done + end - position - done]
            got = os.preadv(self._handles[number], [window], inside)
            if not got:
                raise OSError(f"{self._paths[number]} became shorter while it was read")
            done += got
        return done


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)


class Region(io.RawIOBase):
    """A piece of a volume as a stream of its own."""

    def __init__(self, volume: Volume, start: int, size: int) -> None:
        self._volume = volume
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        window = view[: max(0, self._size - self._position)]
        got = self._volume.read_into(self._start + self._position, window)
        self._position += got
        return got
