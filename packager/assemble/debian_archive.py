"""Reads a .deb without running anything of it: an `ar` of control and data tars (deb(5)).

Small on purpose: the three members in their order, xz, gzip or plain, and nothing that a package of
files has no need of. Maintainer scripts are never read. Set-uid bits, owners and times are dropped
with everything else that an Entry does not say.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packager.archive import Entry
from packager.assemble.image_paths import merged_path, plain_path, resolved_link
from packager.errors import LockError

_MAGIC = b"!<arch>\n"
_HEADER = 60
_UNPACKED_LIMIT = 1 << 30
_CONTROL_LIMIT = 16 << 20
_MD5_LINE = re.compile(r"([0-9a-f]{32})  (.+)")


@dataclass(frozen=True, slots=True)
class DebianArchive:
    """What a package brings: its control file, its files' MD5 sums by path, and its files.

    Paths are as in the image, with /usr merged; folders are left out.
    """

    control: bytes
    md5sums: Mapping[str, str]
    entries: tuple[Entry, ...]


def read_debian_archive(path: Path, where: str) -> DebianArchive:
    """Parse the .deb at `path`; `where` names it in messages. Raises LockError."""
    try:
        members = dict(_members(path.read_bytes(), where))
        names = list(members)
        if len(names) != 3 or names[0] != "debian-binary" or members[names[0]][:2] != b"2.":
            raise _malformed(where, f"members {names[:5]}")
        control, data = names[1:]
        if not control.startswith("control.tar") or not data.startswith("data.tar"):
            raise _malformed(where, f"members {names}")
        described = _control_files(_plain(members[control], control, _CONTROL_LIMIT, where), where)
        files = _plain(members[data], data, _UNPACKED_LIMIT, where)
        entries = tuple(_entries(files, where))
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError) as error:
        raise _malformed(where, f"{type(error).__name__}: {error}"[:200]) from error
    if "control" not in described:
        raise _malformed(where, "no control file")
    return DebianArchive(described["control"], _md5sums(described.get("md5sums", b"")), entries)


def _members(data: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """ar(5): a magic, then members of a 60-byte header and content, padded to even offsets."""
    if not data.startswith(_MAGIC):
        raise _malformed(where, "not an ar archive")
    offset = len(_MAGIC)
    while offset < len(data):
        header = data[offset : offset + _HEADER]
        size = header[48:58].strip()
        if len(header) != _HEADER or header[58:] != b"`\n" or not size.isdigit():
            raise _malformed(where, f"no member header at byte {offset}")
        offset += _HEADER
        content = data[offset : offset + int(size)]
        if len(content) != int(size):
            raise _malformed(where, "the last member is cut short")
        yield header[:16].decode("ascii").rstrip().rstrip("/"), content
        offset += int(size) + int(size) % 2


def _plain(packed: bytes, name: str, limit: int, where: str) -> bytes:
    """The member decompressed, at most `limit` bytes."""
    match name.rpartition("tar")[2]:
        case "":
            return packed
        case ".xz":
            xz = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 30)
            plain, ended = xz.decompress(packed, max_length=limit), xz.eof
        case ".gz":
            gz = zlib.decompressobj(wbits=31)
            plain, ended = gz.decompress(packed, limit), gz.eof
        case other:
            raise LockError(
                "a Debian package uses a compression that is not read here",
                where=f"{where}: {name}",
                expected="xz, as Debian 13's own packages do",
                got=other.lstrip("."),
            )
    if not ended:
        raise _malformed(where, f"{name} is cut short or larger than {limit} bytes")
    return plain


def _control_files(plain: bytes, where: str) -> dict[str, bytes]:
    """`control` and `md5sums`; the scripts beside them are passed over unread."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        for member in archive:
            name = plain_path(member.name, where)
            if name in ("control", "md5sums") and (source := archive.extractfile(member)):
                found[name] = source.read()
    return found


def _entries(plain: bytes, where: str) -> Iterator[Entry]:
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        contents: dict[str, tuple[bytes, bool]] = {}
        for member in archive:
            path = merged_path(plain_path(member.name, where))
            if member.isdir() or not path:
                continue
            if member.issym():
                yield Entry.symlink(path, resolved_link(path, member.linkname, where))
            elif member.isreg() or member.islnk():
                contents[path] = _content(archive, member, contents, where)
                yield Entry.of_bytes(path, contents[path][0], executable=contents[path][1])
            else:
                raise _malformed(where, f"{path} is neither file, folder nor link")


def _content(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    contents: Mapping[str, tuple[bytes, bool]],
    where: str,
) -> tuple[bytes, bool]:
    """Bytes and executable bit of a file; a hard link is a copy of the earlier file it names."""
    if member.islnk():
        original = merged_path(plain_path(member.linkname, where))
        if original not in contents:
            raise _malformed(where, f"{member.name} links to {original[:200]}, which is not there")
        return contents[original]
    source = archive.extractfile(member)
    if source is None:
        raise _malformed(where, f"{member.name} has no content")
    return source.read(), bool(member.mode & 0o111)


def _md5sums(text: bytes) -> dict[str, str]:
    lines = text.decode("utf-8", "replace").splitlines()
    found = (_MD5_LINE.fullmatch(line) for line in lines)
    return {merged_path(match[2]): match[1] for match in found if match}


def _malformed(where: str, got: str) -> LockError:
    return LockError("a Debian package is malformed", where=where, got=got)
