"""A whole release as one artifact of a registry, and that artifact as a release source.

An OCI artifact whose layers are the files of the release, each named by its path in
`org.opencontainers.image.title`: `oras pull` writes the same files. Blobs of images are there
already, so that they cost nothing in a registry that holds the images; other repositories' are
mounted where the registry allows. An annotation says which targets it carries; like everything that
a registry says, it is believed by nobody.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

from packager.canonical import dumps
from packager.carrying import INDEX, MAX_DOCUMENT, MAX_ROOT, Carried, Listing, carried
from packager.closed_world import Census, Inventory
from packager.digest import CHUNK, Digest
from packager.domain.artifact import Descriptor, MediaType
from packager.errors import UnavailableError, VerificationError
from packager.oci.holders import Holders
from packager.oci.json_document import parse
from packager.oci.reference import Reference
from packager.oci.registry_client import Repository
from packager.oci.registry_reading import ImageName, RemoteImages
from packager.oci.uploading import Meter, Upload, upload
from packager.progress import Progress
from packager.release_source import Files, ReleaseSource, read_bounded

ARTIFACT = "application/vnd.packager.release.v1"
FILE = "application/vnd.packager.release.file.v1"
TARGETS = "dev.packager.targets"
_TITLE = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
_ROOT = "release.json"
_EMPTY = b"{}"
_MAX_MANIFEST = 4 << 20
_MAX_FILES = 20_000


def push_release(
    source: ReleaseSource,
    listing: Listing,
    targets: tuple[str, ...],
    destination: Reference,
    *,
    plain_http: bool,
    progress: Progress,
    holders: Holders | None = None,
) -> str:
    """Push the files of a release that was verified, as far as `targets` need them; the artifact as
    `registry/repository@sha256:…`. Raises UnavailableError."""
    files = _files(source, listing, targets)
    progress.step(f"push {destination}")
    blobs = [Upload(digest, size, _File(source, path)) for path, (digest, size) in files.items()]
    blobs.append(Upload(Digest.of(_EMPTY), len(_EMPTY), _EMPTY))
    once = {blob.digest: blob.size for blob in blobs}
    sent = Meter(f"push {destination}", sum(once.values()), progress)
    with Repository(destination, plain_http=plain_http) as repository:
        repository.ping()
        upload(repository, destination, blobs, Holders() if holders is None else holders, sent)
        data = _manifest(listing, targets, files)
        repository.push_manifest(str(Digest.of(data)), data, MediaType.MANIFEST)
        repository.push_manifest(destination.tag, data, MediaType.MANIFEST)
    return f"{destination.host}/{destination.repository}@{Digest.of(data)}"


def _files(
    source: ReleaseSource, listing: Listing, targets: tuple[str, ...]
) -> dict[str, tuple[Digest, int]]:
    """Path → digest and size of what travels: what the root does not name, and what it does."""
    travelling = carried(listing, targets, _reader(source, listing)).files
    found: dict[str, tuple[Digest, int]] = {}
    for path in sorted(source.inventory().files):
        if path in travelling:
            listed = listing.files[path]
            found[path] = listed.digest, listed.size
        elif path not in listing.files:
            data = read_bounded(source, path, MAX_ROOT)
            found[path] = Digest.of(data), len(data)
    return found


def _reader(source: Files, listing: Listing) -> Callable[[str], bytes]:
    return lambda path: listing.checked(path, read_bounded(source, path, MAX_DOCUMENT))


def _manifest(
    listing: Listing, targets: tuple[str, ...], files: dict[str, tuple[Digest, int]]
) -> bytes:
    layers = [
        Descriptor(FILE, digest, size, annotations={_TITLE: path}).as_dict()
        for path, (digest, size) in files.items()
    ]
    return dumps(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "artifactType": ARTIFACT,
            "config": Descriptor(MediaType.EMPTY, Digest.of(_EMPTY), len(_EMPTY)).as_dict(),
            "layers": layers,
            "annotations": {
                _TITLE: listing.name,
                _VERSION: listing.version,
                TARGETS: ",".join(sorted(targets)),
            },
        }
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the release as something that an upload opens as often as it must."""

    source: Files
    path: str

    def open(self, mode: Literal["rb"], /) -> BinaryIO:  # noqa: ARG002 - of the protocol
        return self.source.open(self.path)


class RegistrySource:
    """The release that an artifact carries, in the sense of `packager.release_source`.

    A context manager. Files are streams from the registry; whoever reads compares them with the
    signed root.
    """

    def __init__(self, name: str, *, plain_http: bool = False) -> None:
        """`name` is `registry/repository:tag` or `…@sha256:…`. Raises UnavailableError when the
        registry does not answer, VerificationError when there is no release under that name."""
        self._name = ImageName.parse(name)
        self._images = RemoteImages(self._name, plain_http=plain_http)
        self.location = name
        data = self._images.manifest(self._name.key, _MAX_MANIFEST)
        if data is None:
            raise VerificationError(
                "the registry has no release of this name",
                where=name,
                next_step="see what is there, or push it: packager push RELEASE REGISTRY",
            )
        if self._name.digest and Digest.of(data) != self._name.digest:
            raise VerificationError("the registry gave another manifest", where=name)
        self.digest = Digest.of(data)
        self._files, self.targets = _read(data, name)
        self._carried: Carried | None = None

    def __enter__(self) -> RegistrySource:
        return self

    def __exit__(self, *_: object) -> None:
        self._images.__exit__()

    @property
    def images(self) -> Files:
        """The image layout, whose index names the carried images only."""
        return _Layout(self)

    def inventory(self) -> Inventory:
        census = Census(self.location)
        for path, member in self._files.items():
            census.file(path, member.size)
        return census.inventory()

    def open(self, path: str) -> BinaryIO:
        """A file as the registry sends it; raises FileNotFoundError when the artifact has none."""
        member = self._files.get(path)
        if member is None:
            raise FileNotFoundError(2, "No such file in the artifact", path)
        return cast(BinaryIO, io.BufferedReader(_Stream(self._images.blob(member.digest)), CHUNK))

    def index(self) -> bytes:
        """`images/index.json` for the carried targets."""
        if self._carried is None:
            listing = Listing.parse(read_bounded(self, _ROOT, MAX_ROOT))
            self._carried = carried(listing, self.targets, _reader(self, listing))
        return self._carried.index


class _Layout:
    """The image layout of a release in a registry."""

    def __init__(self, source: RegistrySource) -> None:
        self._source = source

    @property
    def location(self) -> str:
        return self._source.location

    def open(self, path: str) -> BinaryIO:
        if f"images/{path}" == INDEX:
            return io.BytesIO(self._source.index())
        return self._source.open(f"images/{path}")


class _Stream(io.RawIOBase):
    """A blob on its way; its connection is given back when it is closed. A registry that breaks off
    is a file that cannot be read."""

    def __init__(self, blob: AbstractContextManager[BinaryIO]) -> None:
        self._blob = blob
        try:
            self._stream = blob.__enter__()
        except UnavailableError as error:
            raise OSError(5, error.findings[0].got or error.findings[0].what) from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except UnavailableError as error:
            raise OSError(5, error.findings[0].got or error.findings[0].what) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._blob.__exit__(None, None, None)
        super().close()


def _read(data: bytes, where: str) -> tuple[dict[str, Descriptor], tuple[str, ...]]:
    """The files by path, and the targets that the artifact says it carries."""
    document = parse(data, where)
    if document.text("artifactType", "") != ARTIFACT:
        raise VerificationError(
            "this is no release",
            where=where,
            expected=f"an artifact of type {ARTIFACT}",
            next_step="name what `packager push` told; packager verify checks an image alone",
        )
    files: dict[str, Descriptor] = {}
    layers = [layer.descriptor() for layer in document.children("layers")]
    for layer in layers[:_MAX_FILES]:
        path = layer.annotations.get(_TITLE, "")
        if path in files or not path:
            raise VerificationError(
                "two files of one name" if path else "a file without a name",
                where=f"{where}: {path[:200]}",
            )
        files[path] = layer
    named = document.texts("annotations").get(TARGETS, "")
    if len(layers) > _MAX_FILES or not named:
        raise VerificationError("the artifact does not say what it carries", where=where)
    return files, tuple(named.split(","))
