"""Finds what of a new blob lies in old ones: a recipe as short as comparing bytes can make it.

The old blobs are cut into chunks, of which only key and place are kept (24 bytes for about 16 KiB).
The new one is cut the same way; a chunk that is known starts a run, which grows to both sides for
as long as the bytes agree. Memory does not grow with the new blob.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from packager.bundle.chunking import AVERAGE_BITS, Chunk, chunks
from packager.bundle.recipe import Recipe, Run
from packager.digest import Digest
from packager.errors import VerificationError

_CANDIDATES = 8
_STEP = 1 << 16
Open = Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class OldBlob:
    """A blob that the other side has; `open` gives a stream that can seek."""

    digest: Digest
    size: int
    open: Open


class ChunkIndex:
    """The chunks of old blobs by their keys."""

    def __init__(self, blobs: Sequence[OldBlob], bits: int = AVERAGE_BITS) -> None:
        """Reads all of them; raises VerificationError for one that is not what its name says."""
        keys = array("Q")
        places = array("q")
        for number, blob in enumerate(blobs):
            sha = hashlib.sha256()
            with blob.open() as stream:
                for chunk in chunks(stream, bits):
                    sha.update(chunk.data)
                    keys.append(chunk.key)
                    places.extend((number, chunk.start))
            if sha.hexdigest() != blob.digest.hex:
                raise VerificationError(
                    "a blob of the old release is damaged",
                    where=str(blob.digest),
                    got=f"sha256:{sha.hexdigest()}",
                    next_step="get the old release again, or make a full bundle",
                )
        unsorted = np.frombuffer(keys, np.uint64) if keys else np.empty(0, np.uint64)
        order = np.argsort(unsorted, kind="stable")
        self._keys = unsorted[order]
        flat = np.frombuffer(places, np.int64) if places else np.empty(0, np.int64)
        self._places = flat.reshape(-1, 2)[order]
        self.blobs = tuple(blobs)

    def places(self, key: int) -> list[tuple[int, int]]:
        """Blob number and offset of the first few chunks with that key."""
        first = int(np.searchsorted(self._keys, np.uint64(key), "left"))
        last = int(np.searchsorted(self._keys, np.uint64(key), "right"))
        found = self._places[first : min(last, first + _CANDIDATES)]
        return [(int(number), int(offset)) for number, offset in found]


@dataclass
class _Matcher:
    """Walks over a new blob, chunk by chunk, and keeps its runs."""

    index: ChunkIndex
    fresh: BinaryIO
    old: list[BinaryIO]
    runs: list[tuple[int, int, int]] = field(default_factory=list)  # blob or -1, offset, length
    done: int = 0  # bytes of the new blob that the runs cover

    def take(self, chunk: Chunk) -> None:
        """Account for one chunk; what no run covers stays open behind `done`."""
        if chunk.end <= self.done:
            return
        if self._continues(chunk):
            return
        for number, offset in self.index.places(chunk.key):
            if self._read(self.old[number], offset, len(chunk.data)) == chunk.data:
                self._start_run(chunk, number, offset)
                return

    def close(self, size: int) -> None:
        """The rest of the new blob is new."""
        self._new_until(size)

    def _continues(self, chunk: Chunk) -> bool:
        """Whether the run that ends where the chunk begins goes on through all of it.

        Where it stops within, the run takes what agrees.
        """
        if not self.runs or self.runs[-1][0] < 0 or self.done < chunk.start:
            return False
        number, offset, length = self.runs[-1]
        wanted = chunk.data[self.done - chunk.start :]
        found = self._read(self.old[number], offset + length, len(wanted))
        same = _common_start(found, wanted)
        self.runs[-1] = (number, offset, length + same)
        self.done += same
        return same == len(wanted)

    def _start_run(self, chunk: Chunk, number: int, offset: int) -> None:
        start = max(chunk.start, self.done)
        offset += start - chunk.start
        back = self._backwards(start, number, offset)
        self._new_until(start - back)
        self.runs.append((number, offset - back, back + chunk.end - start))
        self.done = chunk.end

    def _backwards(self, start: int, number: int, offset: int) -> int:
        """How many bytes before both places agree, within what no run covers yet."""
        agreed = 0
        room = min(start - self.done, offset)
        while agreed < room:
            step = min(_STEP, room - agreed)
            ours = self._read(self.fresh, start - agreed - step, step)
            theirs = self._read(self.old[number], offset - agreed - step, step)
            same = _common_end(ours, theirs)
            agreed += same
            if same < step:
                break
        return agreed

    def _new_until(self, end: int) -> None:
        if end > self.done:
            self.runs.append((-1, self.done, end - self.done))
            self.done = end

    @staticmethod
    def _read(stream: BinaryIO, offset: int, length: int) -> bytes:
        stream.seek(offset)
        return stream.read(length)


def match(blob: OldBlob, index: ChunkIndex, bits: int = AVERAGE_BITS) -> tuple[Recipe, list[Run]]:
    """The recipe of a new blob, and where in it its new bytes lie (runs of the blob itself)."""
    old = [each.open() for each in index.blobs]
    try:
        with blob.open() as cut, blob.open() as fresh:
            matcher = _Matcher(index, fresh, old)
            for chunk in chunks(cut, bits):
                matcher.take(chunk)
            matcher.close(blob.size)
    finally:
        for stream in old:
            stream.close()
    runs: list[Run] = []
    own: list[Run] = []
    written = 0
    for number, offset, length in matcher.runs:
        if number < 0:
            runs.append(Run(None, written, length))
            own.append(Run(blob.digest, offset, length))
            written += length
        else:
            runs.append(Run(index.blobs[number].digest, offset, length))
    return Recipe(blob.digest, blob.size, tuple(runs)), own


def _common_start(first: bytes, second: bytes | memoryview) -> int:
    length = min(len(first), len(second))
    one = np.frombuffer(first, np.uint8, length)
    other = np.frombuffer(second, np.uint8, length)
    differs = np.flatnonzero(one != other)
    return int(differs[0]) if len(differs) else length


def _common_end(first: bytes, second: bytes) -> int:
    one, other = np.frombuffer(first, np.uint8), np.frombuffer(second, np.uint8)
    differs = np.flatnonzero(one != other)
    return len(first) - 1 - int(differs[-1]) if len(differs) else len(first)
