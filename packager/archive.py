"""The one deterministic tar writer.

Two archives of the same entries are the same bytes, whatever the order in which the entries came,
the user, the umask, the clock or the Python version: names are sorted bytewise, owners are numeric
zero without names, modes are reduced to what we decide, times are the caller's epoch, the format is
POSIX ustar with PAX records only for what ustar cannot say (reproducible-builds.org, "Archives").
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from packager.digest import CHUNK


class EntryKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive.

    `path` is relative, with `/`, without `.` or `..`; `open` gives the bytes of a file anew at each
    call; `size` in bytes; `executable` decides between modes 0755 and 0644.
    """

    path: str
    kind: EntryKind
    size: int = 0
    executable: bool = False
    target: str = ""
    open: Callable[[], BinaryIO] | None = None

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if not self.path or any(part in ("", ".", "..") for part in parts) or "\0" in self.path:
            raise ValueError(f"not a plain relative path: {self.path!r}")

    @classmethod
    def of_bytes(cls, path: str, data: bytes, *, executable: bool = False) -> Entry:
        return cls(path, EntryKind.FILE, len(data), executable, open=lambda: io.BytesIO(data))

    @classmethod
    def of_file(cls, path: str, source: Path, *, executable: bool = False) -> Entry:
        return cls(
            path,
            EntryKind.FILE,
            source.stat().st_size,
            executable,
            open=lambda: source.open("rb"),
        )

    @classmethod
    def directory(cls, path: str) -> Entry:
        return cls(path, EntryKind.DIRECTORY)

    @classmethod
    def symlink(cls, path: str, target: str) -> Entry:
        return cls(path, EntryKind.SYMLINK, target=target)


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, sorted, with every missing parent folder added.

    Raises ValueError for two entries of one name, and for one that stands below a file or a link:
    where it would land depends on who unpacks.
    """
    named: dict[str, Entry] = {}
    for entry in entries:
        known = named.get(entry.path)
        if known and not (known.kind is entry.kind is EntryKind.DIRECTORY):
            raise ValueError(f"two entries of one name: {entry.path}")
        named[entry.path] = entry
    for path in list(named):
        parent = path.rpartition("/")[0]
        while parent and parent not in named:
            named[parent] = Entry.directory(parent)
            parent = parent.rpartition("/")[0]
        if parent and named[parent].kind is not EntryKind.DIRECTORY:
            raise ValueError(f"{path} stands below {parent}, which is no folder")
    return [named[path] for path in sorted(named, key=str.encode)]


def write_tar(stream: BinaryIO, entries: Iterable[Entry], *, mtime: int = 0) -> None:
    """Write `entries` with their parent folders as one tar to `stream`, in constant memory."""
    with tarfile.TarFile(
        fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, copybufsize=CHUNK
    ) as archive:
        for entry in with_parents(entries):
            header = _header(entry, mtime)
            if entry.kind is EntryKind.FILE and entry.open:
                with entry.open() as source:
                    archive.addfile(header, source)
            else:
                archive.addfile(header)


def file_header(path: str, size: int) -> bytes:
    """The header blocks of a plain file, owner and time zero: for whoever lays out a tar block by
    block and must know each byte beforehand.

    Ustar, which every tar reads; GNU's extension where ustar cannot say the size (8 GiB and more)
    or the name, because busybox knows it and does not know PAX.
    """
    header = _header(Entry(path, EntryKind.FILE, size), 0)
    try:
        return header.tobuf(tarfile.USTAR_FORMAT, "utf-8")
    except ValueError:
        return header.tobuf(tarfile.GNU_FORMAT, "utf-8")


def comment_header(length: int) -> bytes:
    """A PAX header of exactly `length` bytes (a multiple of 512, at least 1024) that says nothing:
    it moves what follows to where a file system can share the blocks."""
    record = length - tarfile.BLOCKSIZE
    text = f"{record} comment="
    header = tarfile.TarInfo("././@PaxHeader")
    header.type = tarfile.XHDTYPE
    header.size = record
    filled = f"{text}{'.' * (record - len(text) - 1)}\n"
    return header.tobuf(tarfile.USTAR_FORMAT, "utf-8") + filled.encode()


def _header(entry: Entry, mtime: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(entry.path)
    header.mtime = mtime
    header.uid = header.gid = 0
    header.uname = header.gname = ""
    match entry.kind:
        case EntryKind.DIRECTORY:
            header.type = tarfile.DIRTYPE
            header.mode = 0o755
        case EntryKind.SYMLINK:
            header.type = tarfile.SYMTYPE
            header.linkname = entry.target
            header.mode = 0o777
        case EntryKind.FILE:
            header.size = entry.size
            header.mode = 0o755 if entry.executable else 0o644
    return header
