"""How to rebuild one blob from others: runs to copy, and runs of new bytes.

Text, so that a shell at the site can follow it and a person can read it:

    recipe 1 HEX 104857600      the blob's SHA-256 and its size in bytes
    copy HEX 0 65536            so many bytes of that blob, from that offset on
    data 0 4096                 so many new bytes, from that offset of the data file on

A recipe is believed by nobody: what comes out has the digest that the signed release names, or is
refused. It is read within bounds all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from packager.digest import Digest
from packager.errors import VerificationError

MAX_RECIPE = 16 << 20
_HEAD = re.compile(r"recipe 1 ([0-9a-f]{64}) (0|[1-9]\d{0,15})")
_COPY = re.compile(r"copy ([0-9a-f]{64}) (0|[1-9]\d{0,15}) ([1-9]\d{0,15})")
_DATA = re.compile(r"data (0|[1-9]\d{0,15}) ([1-9]\d{0,15})")


@dataclass(frozen=True, slots=True)
class Run:
    """`length` bytes from `offset` of the blob `base`, or of the new bytes when it is None."""

    base: Digest | None
    offset: int
    length: int

    def line(self) -> str:
        if self.base is None:
            return f"data {self.offset} {self.length}\n"
        return f"copy {self.base.hex} {self.offset} {self.length}\n"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The runs of a blob, first to last."""

    blob: Digest
    size: int
    runs: tuple[Run, ...]

    @property
    def bases(self) -> tuple[Digest, ...]:
        """The blobs that are copied from."""
        return tuple(sorted({run.base for run in self.runs if run.base}))

    @property
    def new_bytes(self) -> int:
        """Bytes that are not copied."""
        return sum(run.length for run in self.runs if run.base is None)

    def as_bytes(self) -> bytes:
        lines = [f"recipe 1 {self.blob.hex} {self.size}\n", *(run.line() for run in self.runs)]
        return "".join(lines).encode()

    @classmethod
    def parse(cls, data: bytes, where: str) -> Recipe:
        """Raises VerificationError unless the runs make exactly the size, new bytes in order."""
        try:
            return cls._read(data.decode("ascii").splitlines(keepends=True))
        except ValueError as error:
            raise VerificationError(
                "the recipe of a blob cannot be followed", where=where, got=str(error)[:200]
            ) from None

    @classmethod
    def _read(cls, lines: Sequence[str]) -> Recipe:
        if not lines or not all(line.endswith("\n") for line in lines):
            raise ValueError("it does not end with a whole line")
        head = _HEAD.fullmatch(lines[0].rstrip("\n"))
        if not head:
            raise ValueError(f"it begins with {lines[0][:80]!r}")
        runs: list[Run] = []
        made = fresh = 0
        for line in lines[1:]:
            run = _run(line.removesuffix("\n"))
            if run.base is None:
                if run.offset != fresh:
                    raise ValueError(f"new bytes out of order: {line[:80]!r}")
                fresh += run.length
            made += run.length
            runs.append(run)
        if made != int(head[2]):
            raise ValueError(f"it makes {made} bytes of {head[2]}")
        return cls(Digest(head[1]), made, tuple(runs))


def _run(line: str) -> Run:
    if copied := _COPY.fullmatch(line):
        return Run(Digest(copied[1]), int(copied[2]), int(copied[3]))
    if fresh := _DATA.fullmatch(line):
        return Run(None, int(fresh[1]), int(fresh[2]))
    raise ValueError(f"not a run: {line[:80]!r}")
