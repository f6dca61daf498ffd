"""The index of the parts of a bundle: what is signed so that each part can be told from others.

Parts are plain cuts: joined in order they are the bundle. The index names each by size and digest;
`sha256sum -c` reads the list beside it, which the index binds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.canonical import dumps
from packager.carrying import MAX_DOCUMENT
from packager.digest import Digest
from packager.errors import VerificationError
from packager.progress import Progress

API_VERSION = "packager/v1"
KIND = "BundleParts"
INDEX = ".parts.json"
CHECKSUMS = ".parts.txt"
RAW_SIGNATURE = ".parts.sig"
SIGSTORE = ".parts.sigstore.json"
MAX_PARTS = 9999
THREADS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its file name, its size in bytes, its digest."""

    name: str
    size: int
    digest: Digest


def part_name(bundle: str, number: int) -> str:
    """The file name of the n-th part, counted from 0: `filetype.tar.part001`."""
    return f"{bundle}.part{number + 1:03d}"


@dataclass(frozen=True, slots=True)
class PartsDocument:
    """`<name>.parts.json`: the bundle's name and size in bytes, its parts in order."""

    name: str
    size: int
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, name: str, size: int, paths: Sequence[Path], progress: Progress) -> PartsDocument:
        """Of files that were written."""
        parts = []
        for path, digest in zip(paths, digest_parts(paths, progress), strict=True):
            if isinstance(digest, OSError):
                raise digest
            parts.append(Part(path.name, path.stat().st_size, digest))
        return cls(name, size, tuple(parts))

    def checksums(self) -> bytes:
        """For `sha256sum -c`."""
        return b"".join(f"{part.digest.hex}  {part.name}\n".encode() for part in self.parts)

    def as_bytes(self) -> bytes:
        """Canonical JSON."""
        listed = self.checksums()
        return dumps(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "bundle": {"name": self.name, "size": self.size},
                "checksums": {"digest": str(Digest.of(listed)), "size": len(listed)},
                "parts": [
                    {"name": part.name, "size": part.size, "digest": str(part.digest)}
                    for part in self.parts
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes, where: str) -> PartsDocument:
        """Raises VerificationError unless it is exactly such an index."""
        try:
            if len(data) > MAX_DOCUMENT:
                raise ValueError(f"longer than {MAX_DOCUMENT} bytes")
            document = cls._read(json.loads(data))
            if document.as_bytes() != data:
                raise ValueError("not canonical, or it says more than it should")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VerificationError(
                "the index of the parts cannot be understood",
                where=where,
                expected=f"kind {KIND}",
                got=str(error)[:200],
            ) from None
        return document

    @classmethod
    def _read(cls, found: Any) -> PartsDocument:
        name, size = str(found["bundle"]["name"]), found["bundle"]["size"]
        parts = tuple(
            Part(str(part["name"]), part["size"], Digest.parse(part["digest"]))
            for part in found["parts"]
        )
        if not 0 < len(parts) <= MAX_PARTS or "/" in name:
            raise ValueError(f"{len(parts)} parts of {name!r}")
        for number, part in enumerate(parts):
            if part.name != part_name(name, number) or type(part.size) is not int or part.size < 1:
                raise ValueError(f"part {number + 1} is named {part.name!r}")
        if sum(part.size for part in parts) != size:
            raise ValueError("the sizes of the parts do not make the bundle's")
        return cls(name, size, parts)


def digest_parts(paths: Sequence[Path], progress: Progress) -> list[Digest | OSError]:
    """Digests of whole files, several at a time; in its place why one cannot be read."""
    done = 0
    digests: list[Digest | OSError] = []
    total = sum(path.stat().st_size for path in paths)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hash") as pool:
        for path, digest in zip(paths, pool.map(_digest, paths), strict=True):
            digests.append(digest)
            done += path.stat().st_size
            progress.advance(path.name, done, total)
    return digests


def _digest(path: Path) -> Digest | OSError:
    try:
        return Digest.of_file(path)
    except OSError as error:
        return error
