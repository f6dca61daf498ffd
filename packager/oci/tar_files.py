"""An archive as a source of files, read in place: nothing of it is ever unpacked to the disk.

Only plain members are given out, and links to them that stay in the archive (`docker save` of
before version 25 links a layer that it has already). A name that stands twice is refused: readers
differ in which one they take.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from packager.closed_world import MAX_FILES
from packager.errors import InputError


class TarFiles:
    """`packager.release_source.Files` over an uncompressed tar."""

    def __init__(self, archive: tarfile.TarFile, location: str) -> None:
        self._archive = archive
        self._location = location
        self._members: dict[str, tarfile.TarInfo] = {}
        for number, member in enumerate(archive):
            name = posixpath.normpath(member.name)
            if number > MAX_FILES:
                raise _refused(location, f"more than {MAX_FILES} members")
            if name in self._members and not member.isdir():
                raise _refused(location, f"two members are named {name[:200]!r}")
            self._members[name] = member

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[TarFiles]:
        """Raises InputError for a file that is no tar, or is compressed."""
        try:
            with tarfile.open(path, "r:") as archive:
                yield cls(archive, str(path))
        except (tarfile.TarError, OSError) as error:
            raise InputError(
                "the archive cannot be read",
                where=str(path),
                expected="a folder or a tar: skopeo copy … oci-archive:FILE, or docker save",
                got=str(error)[:200],
                next_step="unpack it first if it is compressed: gunzip FILE",
            ) from error

    @property
    def location(self) -> str:
        return self._location

    def has(self, path: str) -> bool:
        return path in self._members

    def open(self, path: str) -> BinaryIO:
        """Raises FileNotFoundError, and OSError for what is no plain file."""
        member = self._members.get(path)
        if member is not None and (member.issym() or member.islnk()):
            folder = posixpath.dirname(path) if member.issym() else ""
            member = self._members.get(
                posixpath.normpath(f"{folder}/{member.linkname}".lstrip("/"))
            )
        if member is None:
            raise FileNotFoundError(2, "no such member", path)
        stream = self._archive.extractfile(member) if member.isreg() else None
        if stream is None:
            raise OSError(f"not a plain file: {path}")
        return cast(BinaryIO, stream)


def _refused(location: str, got: str) -> InputError:
    return InputError("the archive means two things or has no end", where=location, got=got)
