"""Files that server.json vouches for, by size and SHA-256."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from .reading import Reader

_SHA256 = re.compile(r"[0-9a-f]{64}")


class DeclaredFile(NamedTuple):
    """A file that must be what it was: `path` relative to server.json, `size` in bytes."""

    path: str
    sha256: str
    size: int


class Golden(NamedTuple):
    """Known answers: an npz file of `input.<tensor>` and `output.<tensor>`.

    `tolerance` bounds |got − expected| / max(1, |expected|) for floating-point outputs.
    """

    path: str
    tolerance: float


class DeclaredModel(Protocol):
    """What is checked of a model before anything reads it: `path` lies in the folder whose every
    file must be declared."""

    @property
    def path(self) -> str: ...
    @property
    def files(self) -> tuple[DeclaredFile, ...]: ...
    @property
    def golden(self) -> Golden | None: ...


def read_files(model: Reader) -> tuple[DeclaredFile, ...]:
    """The list under `files`, each once; raises Refusal."""
    files = tuple(_file(entry) for entry in model.entries("files"))
    if len({file.path for file in files}) != len(files):
        raise model.at("files").wrong("names one file twice")
    return files


def _file(reader: Reader) -> DeclaredFile:
    reader.only("path", "sha256", "size")
    return DeclaredFile(
        reader.at("path").relative_path(),
        reader.at("sha256").matching(_SHA256, "64 lower-case hexadecimal digits"),
        reader.integer("size", 0, 1 << 50),
    )
