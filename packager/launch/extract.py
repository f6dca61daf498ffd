"""Takes layers apart into a folder, trusting nothing in them but what their digest promises.

Only plain files and folders come out, below the given folder; links, devices, absolute paths and
`..` are refused by name. The blob is hashed while it is read, and the result counts only when the
digest is the one that the signed manifest names.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from packager.decompression import DAMAGE, plain
from packager.digest import CHUNK, Digest
from packager.domain.artifact import Layer
from packager.errors import VerificationError
from packager.workspace import telling_output_errors


def extract_layers(layers: Sequence[Layer], into: Path) -> None:
    """Extract `layers`, first to last, into `into`, which is empty or new.

    Raises VerificationError when a blob is not what its descriptor says or holds anything but plain
    files and folders, OutputError when the disk says no.
    """
    with telling_output_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        for layer in layers:
            _extract(layer, into)


def _extract(layer: Layer, into: Path) -> None:
    with layer.blob.open("rb") as stream:
        blob = _HashingReader(stream)
        with _telling_damage(layer):
            with tarfile.open(fileobj=_plain(blob, layer), mode="r|") as archive:
                for member in archive:
                    _extract_member(archive, member, into)
            while blob.read(CHUNK):
                pass  # what follows the archive belongs to the digest too
    if blob.digest != layer.descriptor.digest:
        raise VerificationError(
            f"the {layer.kind} layer is not what the signed manifest names",
            where=str(layer.blob),
            expected=str(layer.descriptor.digest),
            got=str(blob.digest),
            next_step="get the release again from where it was built",
        )


def _extract_member(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or not path.parts:
        raise _hostile(member, "a path that leaves the folder")
    target = into.joinpath(*path.parts)
    if member.isdir():
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif member.isreg() and (source := archive.extractfile(member)):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A later layer replaces a file of an earlier one; nothing is ever written through it.
        target.unlink(missing_ok=True)
        with source, target.open("xb") as sink:
            while chunk := source.read(CHUNK):
                sink.write(chunk)
        target.chmod(0o755 if member.mode & 0o100 else 0o644)
    else:
        raise _hostile(member, "neither a plain file nor a folder")


def _hostile(member: tarfile.TarInfo, got: str) -> VerificationError:
    return VerificationError(
        "a layer holds an entry that does not belong there",
        where=repr(member.name)[:200],
        expected="plain files and folders with relative paths",
        got=got,
    )


def _plain(blob: _HashingReader, layer: Layer) -> BinaryIO:
    unpacked = plain(cast(BinaryIO, blob), layer.descriptor.media_type, layer.descriptor.size)
    if unpacked is None:
        raise VerificationError(
            f"the {layer.kind} layer is stored in a form that is not read here",
            where=str(layer.blob),
            expected="a tar, plain or compressed by gzip or zstd",
            got=layer.descriptor.media_type[:120],
        )
    return unpacked


@contextmanager
def _telling_damage(layer: Layer) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, IsADirectoryError, FileExistsError, *DAMAGE) as error:
        raise VerificationError(
            f"the {layer.kind} layer cannot be unpacked",
            where=str(layer.blob),
            got=str(error)[:200],
            next_step="get the release again from where it was built",
        ) from error


class _HashingReader:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha = hashlib.sha256()

    @property
    def digest(self) -> Digest:
        return Digest(self._sha.hexdigest())

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._sha.update(data)
        return data
