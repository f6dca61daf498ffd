"""Reads a wheel as an installer would, without one (PyPA, "Binary distribution format").

Purelib and platlib are the same folder here; of `*.data` only these two are taken, since nothing in
the image starts scripts or reads headers. RECORD is a closed world: a file that it does not list,
lists in vain or lists with another digest is refused. The RECORD in the image lists what is there.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import mmap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from packager.archive import Entry, EntryKind
from packager.assemble.image_paths import plain_path
from packager.assemble.recipe import SITE_PACKAGES
from packager.digest import Digest
from packager.errors import LockError

_RECORD_LIMIT = 64 << 20
_UNPACKED_LIMIT = 8 << 30
_MODE_SHIFT = 16  # a zip's external attributes carry the Unix mode in their upper half
_TYPE_MASK, _PLAIN_FILE = 0o170000, 0o100000


@dataclass(frozen=True, slots=True)
class _Wheel:
    """An open wheel: members by path, `info` is the name of its one `.dist-info` folder."""

    archive: zipfile.ZipFile
    filename: str
    info: str
    members: Mapping[str, zipfile.ZipInfo]


def read_wheel(
    path: Path,
    filename: str,
    dropped: Callable[[str], bool],
    changed: Callable[[Entry], tuple[Entry, Digest] | None] = lambda _: None,
) -> tuple[Entry, ...]:
    """The wheel's files at their places in the image, without those that are `dropped`.

    `changed` may put another content in a file's place, with its digest. Contents are read and
    checked against RECORD only when an entry is opened, in constant memory. Raises LockError, also
    from reading an entry.
    """
    try:
        wheel = _open(path, filename)
        record = _record(wheel)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, csv.Error) as error:
        raise _malformed(filename, str(error)) from error
    kept: list[tuple[Entry, str]] = []
    for name, digest in sorted(record.items()):
        target = _installed(name)
        if target and not dropped(target):
            entry = _entry(wheel, wheel.members[name], target, digest)
            if other := changed(entry):
                kept.append((other[0], other[1].hex))
            else:
                kept.append((entry, digest))
    info = f"{SITE_PACKAGES}/{wheel.info}"
    kept.append((Entry.of_bytes(f"{info}/INSTALLER", b"packager\n"), ""))
    return (*(entry for entry, _ in kept), _new_record(kept, f"{info}/RECORD"))


def info_folder(archive: zipfile.ZipFile) -> str:
    """The name of the one `.dist-info` folder; raises ValueError when there is not exactly one."""
    tops = {name.partition("/")[0] for name in archive.namelist()}
    folders = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(folders) != 1:
        raise ValueError(f"{len(folders)} .dist-info folders instead of one")
    return folders[0]


class _Mapped(mmap.mmap):
    """A file in memory. Entries are read long after `read_wheel` returned, by whoever holds them;
    a mapping goes with the last of them, where an open file would have to be closed by somebody."""

    def seekable(self) -> bool:
        """What zipfile asks; mmap answers by itself only from Python 3.13 on."""
        return True


def _open(path: Path, filename: str) -> _Wheel:
    with path.open("rb") as file:
        mapped = _Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    archive = zipfile.ZipFile(cast(IO[bytes], mapped))
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = plain_path(member.filename, filename)
        if member.is_dir():
            continue
        kind = (member.external_attr >> _MODE_SHIFT) & _TYPE_MASK
        if name in members or kind not in (0, _PLAIN_FILE):
            raise _malformed(filename, f"{name[:200]} stands twice or is not a plain file")
        members[name] = member
    if sum(member.file_size for member in members.values()) > _UNPACKED_LIMIT:
        raise _malformed(filename, f"more than {_UNPACKED_LIMIT} bytes when unpacked")
    return _Wheel(archive, filename, info_folder(archive), members)


def _record(wheel: _Wheel) -> dict[str, str]:
    """SHA-256 in hex by path, for every member but RECORD itself and its signatures."""
    name = f"{wheel.info}/RECORD"
    if name not in wheel.members or wheel.members[name].file_size > _RECORD_LIMIT:
        raise _malformed(wheel.filename, f"no {name}, or too large a one")
    text = wheel.archive.read(name).decode("utf-8", "replace")
    rows = [row for row in csv.reader(io.StringIO(text)) if len(row) == 3 and row[1]]
    listed = {row[0]: _hex(row[1]) for row in rows}
    wrong = sorted(listed.keys() ^ (wheel.members.keys() - {name, f"{name}.jws", f"{name}.p7s"}))
    if wrong:
        raise LockError(
            "a wheel's files are not those of its RECORD",
            where=wheel.filename,
            got=", ".join(wrong[:5])[:300],
        )
    return listed


def _hex(text: str) -> str:
    """`sha256=<urlsafe base64 without padding>` as hex; empty for anything else."""
    algorithm, _, encoded = text.partition("=")
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    return raw.hex() if algorithm == "sha256" else ""


def _installed(name: str) -> str | None:
    """Where a member goes, or None for what has no place in the image."""
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return f"{SITE_PACKAGES}/{name}"
    scheme, _, rest = rest.partition("/")
    return f"{SITE_PACKAGES}/{rest}" if scheme in ("purelib", "platlib") and rest else None


def _entry(wheel: _Wheel, member: zipfile.ZipInfo, target: str, digest: str) -> Entry:
    return Entry(
        target,
        EntryKind.FILE,
        member.file_size,
        executable=bool((member.external_attr >> _MODE_SHIFT) & 0o111),
        open=lambda: _checked(wheel, member, digest),
    )


def _checked(wheel: _Wheel, member: zipfile.ZipInfo, digest: str) -> BinaryIO:
    return io.BufferedReader(_CheckedReader(wheel, member, digest))


class _CheckedReader(io.RawIOBase):
    """Reads a member, and raises LockError instead of giving out the end of a wrong one."""

    def __init__(self, wheel: _Wheel, member: zipfile.ZipInfo, digest: str) -> None:
        self._source = wheel.archive.open(member)
        self._where = f"{wheel.filename}: {member.filename}"
        self._left = member.file_size
        self._sha = hashlib.sha256()
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._source.read(len(buffer))
        except (zipfile.BadZipFile, EOFError) as error:
            raise _malformed(self._where, str(error)) from error
        self._sha.update(data)
        self._left -= len(data)
        if (not data or not self._left) and self._sha.hexdigest() != self._digest:
            raise LockError(
                "a file of a wheel is not the one that its RECORD lists",
                where=self._where,
                expected=f"sha256:{self._digest}",
                got=f"sha256:{self._sha.hexdigest()}",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def _new_record(kept: list[tuple[Entry, str]], path: str) -> Entry:
    """A RECORD of the files that are in the image, as every installer writes its own."""
    root = f"{SITE_PACKAGES}/"
    lines = [(path.removeprefix(root), "", "")]
    for entry, digest in kept:
        encoded = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
        hashed = f"sha256={encoded}" if digest else ""
        lines.append((entry.path.removeprefix(root), hashed, str(entry.size)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(lines))
    return Entry.of_bytes(path, text.getvalue().encode())


def _malformed(where: str, got: str) -> LockError:
    return LockError("a wheel is malformed", where=where, got=got[:300])
