"""`release.json`, the one signed root: its shape, its names, its bounds.

Everything else in a release folder is believed because this document names it by digest. Sealing
writes it with `with_files`, verifying reads it with `parse_root`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packager.attest import base64_text
from packager.attest.bounded_json import load_object
from packager.attest.cosign import repository_of
from packager.attest.keys import PublicKey
from packager.canonical import dumps
from packager.closed_world import MAX_FILES, plain_path
from packager.digest import Digest
from packager.domain.artifact import Platform

ROOT = "release.json"
BUNDLE = "release.sigstore.json"
RAW_SIGNATURE = "release.sig"
CHECKSUMS = "checksums.txt"
# Not payload: the root, its two signatures, and the list that the root binds.
UNLISTED = frozenset({ROOT, BUNDLE, RAW_SIGNATURE, CHECKSUMS})

MAX_SIGNERS = 16

_SIGNATURE = re.compile(r"release\.[0-9a-f]{32}\.sigstore\.json")

API_VERSION = "packager/v1"
KIND = "Release"
MAX_ROOT = 16 << 20


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A payload file as the root names it: path relative to the folder, digest, size in bytes."""

    path: str
    digest: Digest
    size: int

    def as_dict(self) -> dict[str, object]:
        return {"path": self.path, "digest": str(self.digest), "size": self.size}

    @property
    def checksum_line(self) -> bytes:
        """As `sha256sum` writes it: two spaces, one line."""
        return f"{self.digest.hex}  {self.path}\n".encode()


@dataclass(frozen=True, slots=True)
class ChartBinding:
    """What the root says about a target's chart; `reference` is `registry/…/name:version`."""

    reference: str
    manifest: Digest

    @property
    def repository(self) -> str:
        """`registry/…/name`"""
        return repository_of(self.reference)


@dataclass(frozen=True, slots=True)
class ImageBinding:
    """What the root says about a target's image, and its chart where it has one.

    `reference` is `registry/name:tag`; `size` are the bytes of manifest, configuration and layers.
    """

    target: str
    reference: str
    manifest: Digest
    size: int
    config: Digest
    platform: Platform
    chart: ChartBinding | None = None

    @property
    def repository(self) -> str:
        """`registry/name`"""
        return repository_of(self.reference)


@dataclass(frozen=True, slots=True)
class IndexBinding:
    """What the root says about an index over the images of several targets."""

    reference: str
    manifest: Digest
    targets: tuple[str, ...]

    @property
    def repository(self) -> str:
        """`registry/name`"""
        return repository_of(self.reference)


@dataclass(frozen=True, slots=True)
class Root:
    """A parsed `release.json`. `document` is all of it, `files` are sorted bytewise by path.

    `counter` grows with every release of that name. `signers` are the keys that signed: the first
    one everything, the others the root. Naming a key here makes nobody trust it; it says which
    signatures must be there.
    """

    document: Mapping[str, Any]
    name: str
    version: str
    counter: int
    signers: tuple[PublicKey, ...]
    files: tuple[ListedFile, ...]
    checksums: ListedFile
    checksums_count: int
    images: tuple[ImageBinding, ...]
    indexes: tuple[IndexBinding, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets."""
        return tuple(image.target for image in self.images)


def checksums_bytes(files: Iterable[ListedFile]) -> bytes:
    """`checksums.txt`: a line for every payload file, sorted bytewise by path."""
    ordered = sorted(files, key=lambda file: file.path.encode())
    return b"".join(file.checksum_line for file in ordered)


def signature_path(key: PublicKey) -> str:
    """Where the signature of a key that signs beside the first one stands: the name follows from
    the key, so that whoever trusts the key needs no list to find it."""
    return f"release.{key.fingerprint.removeprefix('sha256:')[:32]}.sigstore.json"


def is_seal(path: str) -> bool:
    """Whether a file of that name is no payload: the root, a signature, the list of checksums."""
    return path in UNLISTED or _SIGNATURE.fullmatch(path) is not None


def with_files(
    document: Mapping[str, Any], files: Sequence[ListedFile], signers: Sequence[PublicKey]
) -> bytes:
    """The bytes of `release.json`: the document, every payload file, the list of checksums, the
    keys that sign."""
    taken = document.keys() & {"files", "checksums", "signers"}
    if taken:
        raise ValueError(f"sealing writes {', '.join(sorted(taken))} itself")
    listed = checksums_bytes(files)
    ordered = sorted(files, key=lambda file: file.path.encode())
    return dumps(
        {
            **document,
            "checksums": {
                "digest": str(Digest.of(listed)),
                "size": len(listed),
                "count": len(files),
            },
            "files": [file.as_dict() for file in ordered],
            "signers": [_signer_entry(key) for key in signers],
        }
    )


def parse_root(data: bytes) -> Root:
    """Read a root. Raises ValueError unless it is canonical JSON of exactly the shape above."""
    document = load_object(data, limit=MAX_ROOT)
    if dumps(document) != data:
        raise ValueError("not canonical JSON: another reader could see another document")
    if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        raise ValueError(f"not apiVersion {API_VERSION}, kind {KIND}")
    files = tuple(_file(entry) for entry in _list(document, "files"))
    paths = [file.path.encode() for file in files]
    if len(files) > MAX_FILES or paths != sorted(set(paths)):
        raise ValueError("the list of files is not sorted, names a file twice, or is too long")
    checksums, count = _checksums(document.get("checksums"))
    signers = tuple(_signer(entry) for entry in _list(document, "signers"))
    if not 0 < len(signers) <= MAX_SIGNERS or len(set(signers)) != len(signers):
        raise ValueError("no signers, too many, or one of them twice")
    images = tuple(_image(entry) for entry in _list(document, "targets"))
    if not images or len({image.target for image in images}) != len(images):
        raise ValueError("no targets, or two targets of one name")
    indexes = _indexes(document, images)
    name, version, counter = _metadata(document.get("metadata"))
    return Root(document, name, version, counter, signers, files, checksums, count, images, indexes)


def _metadata(entry: Any) -> tuple[str, str, int]:
    match entry:
        case {"name": str(name), "version": str(version), "counter": int(counter)}:
            return name, version, _size(counter)
        case _:
            raise ValueError("metadata has no name, no version, or no counter")


def _signer_entry(key: PublicKey) -> dict[str, object]:
    return {
        "algorithm": key.algorithm.name,
        "fingerprint": key.fingerprint,
        "key": base64_text.encode(key.der),
    }


def _signer(entry: Any) -> PublicKey:
    match entry:
        case {"key": der}:
            key = PublicKey.of_der(base64_text.decode(der))
            if entry == _signer_entry(key):
                return key
        case _:
            pass
    raise ValueError("a signer is not exactly algorithm, fingerprint and key")


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return value


def _file(entry: Any) -> ListedFile:
    match entry:
        case {"path": str(path), "digest": str(digest), "size": int(size), **other} if not other:
            pass
        case _:
            raise ValueError("a file is not exactly path, digest and size")
    if not plain_path(path) or is_seal(path):
        raise ValueError(f"not the path of a payload file: {path[:200]!r}")
    return ListedFile(path, Digest.parse(digest), _size(size))


def _checksums(entry: Any) -> tuple[ListedFile, int]:
    match entry:
        case {"digest": str(digest), "size": int(size), "count": int(count), **other} if not other:
            return ListedFile(CHECKSUMS, Digest.parse(digest), _size(size)), _size(count)
        case _:
            raise ValueError("checksums is not exactly digest, size and count")


def _image(entry: Any) -> ImageBinding:
    match entry:
        case {
            "name": str(name),
            "image": {
                "reference": str(reference),
                "digest": str(digest),
                "size": int(size),
                "config": str(config),
                "platform": {"os": str(os), "architecture": str(architecture), **more},
            },
        } if more.keys() <= {"variant"}:
            variant = more.get("variant", "")
        case _:
            raise ValueError(
                "a target has no name, or no image with digest, size, config and platform"
            )
    if not plain_path(name) or name.count("/") != 2:
        raise ValueError(f"not jurisdiction/hardware/platform: {name[:200]!r}")
    if not isinstance(variant, str):
        raise ValueError("a platform's variant is not a text")
    return ImageBinding(
        name,
        reference,
        Digest.parse(digest),
        _size(size),
        Digest.parse(config),
        Platform(os, architecture, variant),
        _chart(entry["chart"]) if "chart" in entry else None,
    )


def _indexes(
    document: Mapping[str, Any], images: Sequence[ImageBinding]
) -> tuple[IndexBinding, ...]:
    if "indexes" not in document:
        return ()
    indexes = tuple(_index(entry) for entry in _list(document, "indexes"))
    known = {image.target for image in images}
    for index in indexes:
        if len(set(index.targets)) != len(index.targets) or not known.issuperset(index.targets):
            raise ValueError("an index names a target twice, or one that is not in the release")
    if len({index.manifest for index in indexes}) != len(indexes):
        raise ValueError("two indexes are one")
    return indexes


def _index(entry: Any) -> IndexBinding:
    match entry:
        case {
            "reference": str(reference),
            "pinned": str(pinned),
            "digest": str(digest),
            "targets": list(targets),
            **other,
        } if not other and all(isinstance(target, str) for target in targets):
            index = IndexBinding(reference, Digest.parse(digest), tuple(targets))
            if pinned == f"{index.repository}@{digest}":
                return index
        case _:
            pass
    raise ValueError("an index is not exactly reference, pinned reference, digest and targets")


def _chart(entry: Any) -> ChartBinding:
    match entry:
        case {"reference": str(reference), "digest": str(digest), "pinned": str(pinned), **more}:
            if not more and pinned == f"{repository_of(reference)}@{digest}":
                return ChartBinding(reference, Digest.parse(digest))
        case _:
            pass
    raise ValueError("a chart is not exactly reference, pinned reference and digest")


def _size(value: int) -> int:
    if isinstance(value, bool) or value < 0:
        raise ValueError("a size or count is not a whole number")
    return value
