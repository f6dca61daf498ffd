"""Where the bytes of a release come from: a folder, or something that stands for one.

Verifying never asks for a path on a disk. It asks a `ReleaseSource` what there is and reads it
through the source, so the same ten steps check a folder, a one-file bundle that is read in place,
and the parts of a split one, and nothing is extracted before it is believed.

To verify releases that lie somewhere else, write a class with the three methods of the protocol and
hand it to `attest.verifying.verify`. It must be as suspicious as `FolderSource`:

  1. Paths are those of the release folder (`images/index.json`), wherever the source keeps them.
  2. `inventory` tells *everything* that is there. Feed each thing to a `Census`, which knows the
     rules of names; call `Census.refuse` for what is no plain file (link, device, pipe) and for
     what the place itself has too much of (bytes after the end of an archive, a part that belongs
     to nothing). Leaving something out of the list takes it out of the closed world. Stop when the
     census is `full`.
  3. `inventory` and `open` meet bytes that nobody vouches for: bound what a header may ask for
     (length of names, of extended headers, number of entries), follow no link, extract nothing.
  4. `open` may be called from several threads at once. Each call gives an independent stream that
     ends where the file ends, and raises OSError (FileNotFoundError when there is no such file) for
     anything that is no plain file now, whatever it was when it was listed.
  5. What a source says about sizes is a claim like all others. Whoever reads compares bytes with
     the signed root, so a source need not check digests itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from packager.closed_world import MAX_FOLDER_DEPTH, Census, Inventory, shown
from packager.errors import InputError, VerificationError

_KINDS = {
    stat.S_IFLNK: "a symlink",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


class Files(Protocol):
    """Files by their paths, wherever they lie."""

    @property
    def location(self) -> str:
        """How a message names this place: the path that the user gave."""

    def open(self, path: str) -> BinaryIO:
        """A plain file for reading, from its start. Raises OSError."""


class ReleaseSource(Files, Protocol):
    """The files of one release, by their paths in the release. See the module for the duties."""

    def inventory(self) -> Inventory:
        """Everything that is there. Raises VerificationError when it cannot even be listed."""


@runtime_checkable
class DeclaringSource(Protocol):
    """A source that may carry some targets of its release only, and says which.

    `packager.carrying` decides what must be there then; whoever cannot say it carries all.
    """

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets that are carried."""

    @property
    def images(self) -> Files:
        """The OCI image layout, whose index names the carried images only."""


@dataclass(frozen=True, slots=True)
class Below:
    """The files of a folder of a release, by their paths in that folder."""

    files: Files
    folder: str

    @property
    def location(self) -> str:
        return f"{self.files.location}/{self.folder}"

    def open(self, path: str) -> BinaryIO:
        return self.files.open(f"{self.folder}/{path}")


def images_of(source: ReleaseSource) -> Files:
    """The OCI image layout of a release."""
    return source.images if isinstance(source, DeclaringSource) else Below(source, "images")


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A release folder on a disk."""

    folder: Path

    @classmethod
    def at(cls, path: Path) -> FolderSource:
        """The folder that `path` names, itself or by a link; raises InputError for no folder."""
        if not path.is_dir():
            raise InputError(
                "there is no release folder",
                where=str(path),
                next_step="give the folder that `packager build` wrote",
            )
        return cls(path.resolve())

    @property
    def location(self) -> str:
        return str(self.folder)

    def open(self, path: str) -> BinaryIO:
        return open_plain(self.folder / path)

    def inventory(self) -> Inventory:
        """Look at everything below the folder; follows no link, opens no file."""
        census = Census(self.location)
        inodes: dict[tuple[int, int], str] = {}
        try:
            for path, entry in _walk(self.folder):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    census.folder(path)
                elif stat.S_ISREG(found.st_mode):
                    census.file(path, found.st_size)
                    twin = inodes.setdefault((found.st_dev, found.st_ino), path)
                    if twin != path:
                        census.refuse(path, f"it is the same file as {shown(twin)} (a hard link)")
                else:
                    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no plain file")
                    census.refuse(path, f"it is {kind}")
                if census.full:
                    break
        except OSError as error:
            raise VerificationError(
                "the folder cannot be listed",
                where=str(error.filename or self.folder),
                got=error.strerror,
                next_step="check the permissions, and whether the medium can be read",
            ) from None
        return census.inventory()


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading; raises OSError for a link, a device or a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"not a plain file: {path.name}")
    return os.fdopen(handle, "rb")


def read_bounded(source: Files, path: str, limit: int) -> bytes:
    """A plain file of at most `limit` bytes; raises VerificationError for anything else."""
    try:
        with source.open(path) as stream:
            data = _read_up_to(stream, limit + 1)
    except FileNotFoundError:
        raise VerificationError("the file is missing", where=path) from None
    except OSError as error:
        raise VerificationError(
            "it is no plain file that can be read", where=path, got=error.strerror or str(error)
        ) from None
    if len(data) > limit:
        raise VerificationError(
            "the file is too long", where=path, expected=f"at most {limit} bytes"
        )
    return data


def _read_up_to(stream: BinaryIO, count: int) -> bytes:
    """`count` bytes, or all when there are fewer; a raw stream may give them in pieces."""
    pieces = bytearray()
    while len(pieces) < count and (piece := stream.read(count - len(pieces))):
        pieces += piece
    return bytes(pieces)


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `root`, folders before what is in them, in bytewise order."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(root / prefix) as entries:
            ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in ordered:
            path = f"{prefix}{entry.name}"
            yield path, entry
            if entry.is_dir(follow_symlinks=False) and path.count("/") < MAX_FOLDER_DEPTH:
                waiting.append(f"{path}/")
