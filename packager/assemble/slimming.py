"""Cuts ONNX Runtime's own CUDA provider down to the device code that one GPU can use.

The provider carries machine code for every GPU since 2018; one profile needs one of them. The
payloads of the other entries are overwritten with zeros: the file keeps its size and every offset,
so nothing has to be moved, and zeros compress to nothing. ONNX Runtime is under the MIT licence,
which allows it; NVIDIA's own libraries are never touched (their licence forbids changes). The same
was published as Negativa-ML. What was cut stands in the record.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from packager.archive import Entry
from packager.assemble.fat_binary import FatEntry, capability_number, read_fat_binary, taken, unused
from packager.assemble.recipe import SITE_PACKAGES
from packager.assemble.unpacked import unpacked
from packager.digest import CHUNK, Digest
from packager.errors import LockError

SLIMMED = f"{SITE_PACKAGES}/onnxruntime/capi/libonnxruntime_providers_cuda.so"
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """What is cut from a library: `spans` of the file that become zeros, in bytes.

    `digest` is the slimmed file's, `kept` and `dropped` name targets of device code, the latter
    with the bytes of each.
    """

    path: str
    digest: Digest
    spans: tuple[Span, ...]
    kept: tuple[str, ...]
    dropped: tuple[tuple[str, int], ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.path,
            "digest": str(self.digest),
            "kept": list(self.kept),
            "zeroed_bytes": dict(self.dropped),
            "zeroed": [f"{start}-{end}" for start, end in self.spans],
        }

    @classmethod
    def of_dict(cls, value: Mapping[str, Any]) -> Cut:
        """The inverse of `as_dict`."""
        return cls(
            path=value["file"],
            digest=Digest.parse(value["digest"]),
            spans=tuple(_span(text) for text in value["zeroed"]),
            kept=tuple(value["kept"]),
            dropped=tuple(sorted(value["zeroed_bytes"].items())),
        )

    def applied(self, entry: Entry) -> tuple[Entry, Digest] | None:
        """The slimmed entry with its digest; None for another file than the one that is cut."""
        if entry.path != self.path:
            return None
        return _zeroed(entry, self.spans), self.digest


def find_cut(entry: Entry, capability: str) -> Cut:
    """What of `entry` a GPU of `capability` (`8.9`) never reads.

    Raises LockError when nothing would be left: a library without code for the GPU is refused.
    """
    number = capability_number(capability)
    with unpacked(entry) as data:
        containers = read_fat_binary(data, entry.path)
        kept = {code for container in containers for code in taken(container, number)}
        dropped = list(unused(containers, number))
    if not kept:
        raise LockError(
            "there is no device code for the GPU",
            where=entry.path,
            expected=f"code for {capability}",
        )
    spans = _merged([(one.offset, one.offset + one.size) for one in dropped])
    with _open(_zeroed(entry, spans)) as stream:
        digest = Digest.of_chunks(iter(lambda: stream.read(CHUNK), b""))
    return Cut(entry.path, digest, spans, tuple(map(str, sorted(kept))), _by_code(dropped))


def _zeroed(entry: Entry, spans: Sequence[Span]) -> Entry:
    return replace(entry, open=lambda: io.BufferedReader(_Zeroing(entry, spans), CHUNK))


def _span(text: str) -> Span:
    start, _, end = text.partition("-")
    return int(start), int(end)


def _by_code(dropped: Sequence[FatEntry]) -> tuple[tuple[str, int], ...]:
    sizes: dict[str, int] = {}
    for one in dropped:
        sizes[str(one.code)] = sizes.get(str(one.code), 0) + one.size
    return tuple(sorted(sizes.items()))


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    """Spans in order, those that touch joined."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _open(entry: Entry) -> BinaryIO:
    if entry.open is None:
        raise ValueError(f"an entry without content: {entry.path}")
    return entry.open()


class _Zeroing(io.RawIOBase):
    """Reads an entry with some spans as zeros."""

    def __init__(self, entry: Entry, spans: Sequence[Span]) -> None:
        self._source = _open(entry)
        self._spans = spans
        self._next = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = bytearray(self._source.read(len(buffer)))
        start, end = self._position, self._position + len(data)
        while self._next < len(self._spans) and self._spans[self._next][0] < end:
            low, high = self._spans[self._next]
            left, right = max(low, start) - start, min(high, end) - start
            data[left:right] = bytes(right - left)
            if high > end:
                break
            self._next += 1
        self._position = end
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()
