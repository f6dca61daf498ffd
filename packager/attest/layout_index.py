"""Follows the index of the release's image layout: manifests, and what they name.

Every document that is read here is one that the signed root names by digest, and every descriptor
must agree with the root's list, so nothing is followed out of the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packager.attest.bounded_json import load_object
from packager.attest.signed_release import SignedRelease
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError

IMAGES = "images"
BLOBS = "images/blobs/sha256"
INDEX = "images/index.json"
MAX_JSON = 4 << 20
MAX_MEMBERS = 10_000
ENCRYPTED = frozenset({MediaType.LAYER_TAR_ENCRYPTED, MediaType.LAYER_GZIP_ENCRYPTED})
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Member:
    """A descriptor as a document names it."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str]

    @property
    def path(self) -> str:
        return f"{BLOBS}/{self.digest.hex}"


@dataclass(frozen=True, slots=True)
class ManifestDocument:
    """A manifest of the layout and what it names."""

    member: Member
    config: Member
    layers: tuple[Member, ...]
    subject: Member | None
    artifact_type: str | None

    @property
    def encrypted(self) -> tuple[Member, ...]:
        """The layers that need a key."""
        return tuple(layer for layer in self.layers if layer.media_type in ENCRYPTED)

    @property
    def members(self) -> tuple[Member, ...]:
        """All blobs that belong to it."""
        return (self.member, self.config, *self.layers)


def read_manifests(release: SignedRelease) -> tuple[ManifestDocument, ...]:
    """Every manifest that `index.json` names, each once, with its descriptor's annotations.

    The indexes that the root names are not among them (`read_index_members`). Raises
    VerificationError for any other index, and for a manifest that does not hold together.
    """
    members = _members(release)
    return tuple(_manifest(release, one) for one in members if not _is_bound_index(release, one))


def read_index_members(release: SignedRelease) -> tuple[Member, ...]:
    """The indexes that both `index.json` and the root name; raises VerificationError for one whose
    bytes are not there."""
    found = [one for one in _members(release) if _is_bound_index(release, one)]
    for member in found:
        _present(release, member)
    return tuple(found)


def _is_bound_index(release: SignedRelease, member: Member) -> bool:
    bound = {index.manifest for index in release.root.indexes}
    return member.media_type == MediaType.INDEX and member.digest in bound


def _members(release: SignedRelease) -> tuple[Member, ...]:
    index = read_json(release, INDEX)
    if release.part:
        index = load_object(release.part.index, limit=MAX_JSON)
    if index.get("schemaVersion") != 2 or index.get("mediaType") != MediaType.INDEX:
        raise VerificationError("not an OCI image index", where=INDEX)
    members = descriptors(index.get("manifests"), INDEX)
    names: dict[str, Digest] = {}
    for member in members:
        name = member.annotations.get(REF_NAME)
        if name and names.setdefault(name, member.digest) != member.digest:
            raise VerificationError(f"two images are named {name[:200]!r}", where=INDEX)
    return members


def read_json(release: SignedRelease, path: str, limit: int = MAX_JSON) -> dict[str, Any]:
    """A signed JSON object; raises VerificationError."""
    try:
        return load_object(release.read(path, limit), limit=limit)
    except ValueError as error:
        raise VerificationError("it cannot be understood", where=path, got=str(error)) from None


def read_member(release: SignedRelease, member: Member, limit: int) -> bytes:
    """The blob behind a descriptor, of exactly its size; raises VerificationError."""
    _present(release, member)
    return release.read(member.path, limit)


def _manifest(release: SignedRelease, member: Member) -> ManifestDocument:
    if member.media_type != MediaType.MANIFEST:
        raise VerificationError(
            "the index names something that is no image manifest",
            where=member.path,
            expected=MediaType.MANIFEST,
            got=member.media_type[:100],
        )
    _present(release, member)
    document = manifest_document(read_json(release, member.path), member)
    for named in (document.config, *document.layers):
        _present(release, named)
    return document


def manifest_document(found: Mapping[str, Any], member: Member) -> ManifestDocument:
    """What a manifest names; raises VerificationError for what is none."""
    if found.get("schemaVersion") != 2 or found.get("mediaType") != MediaType.MANIFEST:
        raise VerificationError("not an OCI image manifest", where=member.path)
    kind = found.get("artifactType")
    subject = found.get("subject")
    return ManifestDocument(
        member,
        _descriptor(found.get("config"), member.path),
        descriptors(found.get("layers"), member.path),
        None if subject is None else _descriptor(subject, member.path),
        kind if isinstance(kind, str) else None,
    )


def _present(release: SignedRelease, member: Member) -> None:
    """Blobs are named by their digest, so the root's list tells whether one is there."""
    listed = release.listed.get(member.path)
    if listed is None:
        raise VerificationError("a blob is missing from the layout", where=member.path)
    if (listed.digest, listed.size) != (member.digest, member.size):
        raise VerificationError(
            "a blob is not what its descriptor says",
            where=member.path,
            expected=f"{member.digest}, {member.size} bytes",
            got=f"{listed.digest}, {listed.size} bytes",
        )


def descriptors(value: Any, where: str) -> tuple[Member, ...]:
    if not isinstance(value, list) or len(value) > MAX_MEMBERS:
        raise VerificationError("no list of descriptors", where=where)
    return tuple(_descriptor(entry, where) for entry in value)


def _descriptor(value: Any, where: str) -> Member:
    match value:
        case {"mediaType": str(kind), "digest": str(digest), "size": int(size)}:
            annotations = value.get("annotations", {})
            try:
                parsed = Digest.parse(digest)
            except ValueError as error:
                raise VerificationError(str(error), where=where) from None
            if isinstance(annotations, dict) and all(
                isinstance(text, str) for text in annotations.values()
            ):
                return Member(kind, parsed, size, annotations)
        case _:
            pass
    raise VerificationError("not an OCI descriptor", where=where)
