"""Content digests, as the OCI image specification writes them ("Descriptors", `digest`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 20
_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest. `str(Digest.parse(text)) == text` for every text that parses."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 lower-case hex digits>`; raises ValueError for anything else."""
        if not _PATTERN.fullmatch(text):
            raise ValueError(f"not a sha256 digest: {text[:80]!r}")
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes]) -> Digest:
        sha = hashlib.sha256()
        for chunk in chunks:
            sha.update(chunk)
        return cls(sha.hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """Digest of a file's bytes, in constant memory."""
        with path.open("rb") as stream:
            return cls(hashlib.file_digest(stream, "sha256").hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


def copy_hashing(source: BinaryIO, target: BinaryIO) -> tuple[Digest, int]:
    """Copy a stream and return the digest and the number of bytes that went through."""
    sha = hashlib.sha256()
    size = 0
    while chunk := source.read(CHUNK):
        sha.update(chunk)
        target.write(chunk)
        size += len(chunk)
    return Digest(sha.hexdigest()), size
