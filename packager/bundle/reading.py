"""A bundle as a release source: read in place, believed by nobody before its signature is checked.

The seal at the front is found by its headers, each of which must be exactly the header that we
would write for that name and size. Everything behind it is *computed* from the seal and compared,
header by header and padding by padding: a link, a device, a sparse or doubled entry, another order,
a byte too many are all the same thing, bytes that are not the ones that must be there.
"""

from __future__ import annotations

import io
import re
import tarfile
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from packager.archive import file_header
from packager.bundle.composing import ROOT, compose, seal_order
from packager.bundle.document import NAME as DESCRIPTION
from packager.bundle.document import BundleDocument
from packager.bundle.members import BLOCK, END, Composition, Member
from packager.bundle.volume import FileVolume, Region, Volume
from packager.carrying import MAX_ROOT, Listing
from packager.closed_world import Census, Inventory
from packager.errors import InputError, VerificationError
from packager.release_source import Files

BUFFER = 1 << 20
MAX_SEAL_FILES = 32
MAX_DESCRIPTION = 4 << 20
AGAIN = "get the bundle again from its maker"
_SEAL_NAME = re.compile(r"release\.[a-z0-9.]{1,60}|checksums\.txt")
_SIZE = slice(124, 136)
_KINDS = {
    tarfile.SYMTYPE: "a symlink",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.DIRTYPE: "a folder",
    tarfile.CONTTYPE: "a contiguous file",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "a global extended header",
}


class BundleSource:
    """The release in a bundle, in the sense of `packager.release_source`.

    `targets` are the ones that the bundle says it carries.
    """

    def __init__(self, volume: Volume, location: str) -> None:
        """Reads the front only. Raises VerificationError when it is no bundle."""
        self._volume = volume
        self._location = location
        self._lock = threading.Lock()
        self._composition: Composition | None = None
        self._seal = _read_seal(volume, location)
        self.document = BundleDocument.parse(
            self._seal_bytes(DESCRIPTION, MAX_DESCRIPTION), location
        )

    @classmethod
    def at(cls, path: Path) -> BundleSource:
        """Raises InputError when there is no such file, VerificationError when it is no bundle."""
        try:
            volume = FileVolume([path])
        except OSError as error:
            raise InputError(
                "the bundle cannot be read",
                where=str(path),
                got=error.strerror or str(error),
                next_step="give a file that `packager bundle -o` wrote",
            ) from None
        try:
            return cls(volume, str(path))
        except OSError as error:
            raise _unreadable(str(path), error) from None

    @property
    def location(self) -> str:
        return self._location

    @property
    def targets(self) -> tuple[str, ...]:
        return self.document.targets

    @property
    def images(self) -> Files:
        """The OCI layout at the root of the tar."""
        return _Root(self)

    @cached_property
    def listing(self) -> Listing:
        """What release.json names."""
        return Listing.parse(self._seal_bytes(ROOT, MAX_ROOT))

    @property
    def composition(self) -> Composition:
        """What must lie where. Call it when the signature was checked."""
        with self._lock:
            if self._composition is None:
                seal = {
                    member.name: self._bytes(member.start, member.size)
                    for member in self._seal
                    if member.name != DESCRIPTION
                }
                self._composition = compose(self.listing, self.document, seal, self._read)
            return self._composition

    def open(self, path: str) -> BinaryIO:
        """A file of the release; raises FileNotFoundError when the bundle does not carry it."""
        member = next((one for one in self._seal if one.path == path), None)
        if member is None and not _SEAL_NAME.fullmatch(path):
            member = self.composition.find(path)
        return self._open(member, path)

    def _open(self, member: Member | None, name: str) -> BinaryIO:
        if member is None:
            raise FileNotFoundError(2, "No such file in the bundle", name)
        region = Region(self._volume, member.start, member.size)
        return cast(BinaryIO, io.BufferedReader(region, BUFFER))

    def open_member(self, name: str) -> BinaryIO:
        """An entry by its name in the tar; raises FileNotFoundError."""
        return self._open(self.composition.named(name), name)

    def inventory(self) -> Inventory:
        """Compare every header and every padding with what must be there."""
        census = Census(self.location)
        composition = self.composition
        for member in composition.members:
            if member.path:
                census.file(member.path, member.size)
            self._compare(member, census)
            if census.full:
                break
        self._compare_end(composition, census)
        return census.inventory()

    def _compare(self, member: Member, census: Census) -> None:
        expected = member.header
        found = self._bytes(member.position, len(expected))
        if found != expected:
            place = f"byte {member.position} of the bundle"
            census.refuse(
                member.path or member.name,
                f"at {place} lies {_described(found[-BLOCK:])} instead of its header",
                "exactly the header that packager writes",
            )
        elif self._bytes(member.start + member.size, member.padding) != bytes(member.padding):
            census.refuse(member.path or member.name, "what follows it is not zero", "zero bytes")
        elif member.data is not None and self._bytes(member.start, member.size) != member.data:
            census.refuse(
                member.name, "it is not what follows from the signed release", "the derived bytes"
            )

    def _compare_end(self, composition: Composition, census: Census) -> None:
        expected, found = composition.size, self._volume.size
        if found < expected:
            census.refuse(
                self.location, f"the bundle ends after {found} bytes", f"{expected} bytes"
            )
        elif found > expected:
            census.refuse(
                self.location,
                f"{found - expected} bytes follow the end of the bundle",
                f"{expected} bytes",
            )
        elif self._bytes(expected - len(END), len(END)) != END:
            census.refuse(self.location, "it does not end as a tar ends", "two blocks of zero")

    def _bytes(self, position: int, length: int) -> bytes:
        try:
            return self._volume.read_at(position, length)
        except OSError as error:
            raise _unreadable(self.location, error) from None

    def _seal_bytes(self, name: str, limit: int) -> bytes:
        member = next(one for one in self._seal if one.name == name)
        if member.size > limit:
            raise VerificationError(
                "the file is too long",
                where=f"{self.location}: {name}",
                expected=f"at most {limit} bytes",
            )
        return self._bytes(member.start, member.size)

    def _read(self, composition: Composition, path: str) -> bytes:
        member = composition.find(path)
        if member is None:
            raise VerificationError("the file is missing", where=path)
        return self._bytes(member.start, member.size)


@dataclass(frozen=True, slots=True)
class _Root:
    """The entries of a bundle by their names in the tar: an OCI layout, and more."""

    bundle: BundleSource

    @property
    def location(self) -> str:
        return self.bundle.location

    def open(self, path: str) -> BinaryIO:
        return self.bundle.open_member(path)


def looks_like_bundle(path: Path) -> bool:
    """Whether a file begins as a bundle does; a question of convenience, not of trust."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(ROOT) + 1) == ROOT.encode() + b"\0"
    except OSError:
        return False


def _read_seal(volume: Volume, location: str) -> list[Member]:
    """The members up to bundle.json, found by their headers."""
    composition = Composition()
    position = 0
    while len(composition.members) <= MAX_SEAL_FILES:
        header = volume.read_at(position, BLOCK)
        name, size = header[:100].rstrip(b"\0").decode(errors="replace"), _size(header)
        known = name == DESCRIPTION or _SEAL_NAME.fullmatch(name)
        if not known or size is None or file_header(name, size) != header or size > MAX_ROOT:
            raise VerificationError(
                "this is no bundle of packager",
                where=location,
                expected=f"{ROOT} first, then its signatures, then {DESCRIPTION}",
                got=f"at byte {position}: {_described(header)}",
                next_step=AGAIN,
            )
        try:
            member = composition.add(name, size, path=None if name == DESCRIPTION else name)
        except ValueError as error:
            raise VerificationError(str(error), where=location, next_step=AGAIN) from None
        position = member.end
        if name == DESCRIPTION:
            break
    names = [member.name for member in composition.members]
    if names != [*seal_order(set(names) - {DESCRIPTION}), DESCRIPTION] or names[0] != ROOT:
        raise VerificationError(
            "the front of the bundle is not in its order",
            where=location,
            got=", ".join(names),
            next_step=AGAIN,
        )
    return composition.members


def _unreadable(location: str, error: OSError) -> VerificationError:
    return VerificationError(
        "the bundle cannot be read to its end",
        where=location,
        got=error.strerror or str(error),
        next_step="the medium may be damaged: copy the bundle onto another one, and bring it again",
    )


def _size(header: bytes) -> int | None:
    text = header[_SIZE].rstrip(b"\0 ")
    try:
        return int(text, 8) if text.isdigit() else None
    except ValueError:
        return None


def _described(block: bytes) -> str:
    """What a block of 512 bytes looks like to someone who reads tars."""
    if len(block) < BLOCK:
        return "the end of the file"
    if block == bytes(BLOCK):
        return "an empty block"
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.TarError:
        return "no tar header"
    kind = _KINDS.get(found.type, "a file" if found.isreg() else f"an entry of type {found.type!r}")
    return f"{kind} named {found.name[:200]!r}, {found.size} bytes"
