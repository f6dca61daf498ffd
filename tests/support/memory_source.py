"""A release source without a disk: the smallest that can be, to hold the protocol to its word."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from packager.closed_world import Census, Inventory


@dataclass(frozen=True)
class MemorySource:
    """Entries in the order in which an archive would tell them; a name may come twice."""

    entries: tuple[tuple[str, bytes], ...]

    @classmethod
    def of_folder(cls, folder: Path) -> MemorySource:
        return cls(
            tuple(
                (path.relative_to(folder).as_posix(), path.read_bytes())
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            )
        )

    @property
    def location(self) -> str:
        return "memory"

    def inventory(self) -> Inventory:
        census = Census(self.location)
        for path, data in self.entries:
            census.file(path, len(data))
        return census.inventory()

    def open(self, path: str) -> BinaryIO:
        for name, data in self.entries:
            if name == path:
                return io.BytesIO(data)
        raise FileNotFoundError(path)
