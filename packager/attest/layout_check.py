"""The OCI image layout of a release: step 7 (image-spec 1.1, "OCI Image Layout").

Digests were checked before this step; here is checked that they belong together: what the root
says about each target's image is what a container engine would find by following the index.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.attest.bounded_json import load_object
from packager.attest.hashing import open_plain, workers
from packager.attest.root import ImageBinding
from packager.attest.signed_release import SignedRelease
from packager.digest import CHUNK, Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding, VerificationError

IMAGES = "images"
BLOBS = "images/blobs/sha256"
MAX_JSON = 4 << 20
MAX_MEMBERS = 10_000
# A gzip layer may grow this much: far more than software does, far less than a bomb.
MAX_RATIO = 200
PLAIN_FLOOR = 256 << 20
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")
_BESIDE_BLOBS = frozenset({"images/oci-layout", "images/index.json", "images/manifest.json"})


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


def check_layout(release: SignedRelease) -> dict[str, int]:
    """Step 7, images: every image of the root is in the index with exactly its configuration and
    layers; nothing else lies in the layout; layers unpack to what the configuration promises."""
    findings = list(_layout_findings(release))
    manifests = read_manifests(release)
    reached = {member.path for document in manifests for member in _members(document)}
    findings += _stray_blobs(release, reached)
    layers: dict[tuple[Digest, Digest], Member] = {}
    by_digest = {document.member.digest: document for document in manifests}
    for image in release.root.images:
        try:
            layers |= _image_layers(release, image, by_digest.get(image.manifest))
        except VerificationError as error:
            findings += error.findings
    findings += _diff_id_findings(release, layers)
    if findings:
        raise VerificationError.of(findings)
    return {"images": len({image.manifest for image in release.root.images}), "layers": len(layers)}


def read_manifests(release: SignedRelease) -> tuple[ManifestDocument, ...]:
    """Every manifest that `index.json` names, each once, with its descriptor's annotations.

    Raises VerificationError for an index or a manifest that does not hold together.
    """
    path = f"{IMAGES}/index.json"
    index = read_json(release, path)
    if index.get("schemaVersion") != 2 or index.get("mediaType") != MediaType.INDEX:
        raise VerificationError("not an OCI image index", where=path)
    members = _descriptors(index.get("manifests"), path)
    names: dict[str, Digest] = {}
    for member in members:
        name = member.annotations.get("org.opencontainers.image.ref.name")
        if name and names.setdefault(name, member.digest) != member.digest:
            raise VerificationError(f"two images are named {name[:200]!r}", where=path)
    return tuple(_manifest(release, member) for member in members)


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
    found = read_json(release, member.path)
    if found.get("schemaVersion") != 2 or found.get("mediaType") != MediaType.MANIFEST:
        raise VerificationError("not an OCI image manifest", where=member.path)
    kind = found.get("artifactType")
    subject = found.get("subject")
    document = ManifestDocument(
        member,
        _descriptor(found.get("config"), member.path),
        _descriptors(found.get("layers"), member.path),
        None if subject is None else _descriptor(subject, member.path),
        kind if isinstance(kind, str) else None,
    )
    for named in (document.config, *document.layers):
        _present(release, named)
    return document


def _members(document: ManifestDocument) -> tuple[Member, ...]:
    return (document.member, document.config, *document.layers)


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


def _descriptors(value: Any, where: str) -> tuple[Member, ...]:
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


def _layout_findings(release: SignedRelease) -> Iterator[Finding]:
    path = f"{IMAGES}/oci-layout"
    if read_json(release, path) != {"imageLayoutVersion": "1.0.0"}:
        yield Finding("not an OCI image layout 1.0.0", path)


def _stray_blobs(release: SignedRelease, reached: set[str]) -> list[Finding]:
    """Files of the layout that no manifest names, or that are named by another digest."""
    findings = []
    for path, file in release.listed.items():
        if not path.startswith(f"{IMAGES}/") or path in _BESIDE_BLOBS:
            continue
        name = path.removeprefix(f"{BLOBS}/")
        if not _BLOB_NAME.fullmatch(name):
            findings.append(Finding("it does not belong into an image layout", path))
        elif name != file.digest.hex:
            findings.append(Finding("the blob's name is not its digest", path))
        elif path not in reached:
            findings.append(Finding("no manifest names this blob", path))
    return findings


def _image_layers(
    release: SignedRelease, image: ImageBinding, document: ManifestDocument | None
) -> dict[tuple[Digest, Digest], Member]:
    """Blob digest and diff_id → layer, once the image is found to be what the root says."""
    where = f"{image.target}: image {image.manifest}"
    if document is None:
        raise VerificationError("the image is not in the index", where=where)
    if document.member.size != image.size:
        raise VerificationError("the root says another size", where=where)
    config = document.config
    if config.digest != image.config or config.media_type != MediaType.CONFIG:
        raise VerificationError("the image has another configuration", where=where)
    if document.subject or document.artifact_type:
        raise VerificationError("an artifact stands in the place of an image", where=where)
    found = read_json(release, config.path)
    parts = (found.get("os"), found.get("architecture"), found.get("variant"))
    platform = "/".join(str(part) for part in parts if part)
    if image.platform is not None and image.platform != platform:
        raise VerificationError(
            "the image is for another platform",
            where=where,
            expected=image.platform,
            got=platform[:100],
        )
    return _paired(found, document.layers, where)


def _paired(
    config: Mapping[str, Any], layers: tuple[Member, ...], where: str
) -> dict[tuple[Digest, Digest], Member]:
    match config:
        case {"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}} if (
            len(diff_ids) == len(layers) > 0
        ):
            pass
        case _:
            raise VerificationError("layers and diff_ids are not as many", where=where)
    try:
        parsed = [Digest.parse(str(text)) for text in diff_ids]
    except ValueError as error:
        raise VerificationError(str(error), where=where) from None
    return {(layer.digest, diff_id): layer for layer, diff_id in zip(layers, parsed, strict=True)}


def _diff_id_findings(
    release: SignedRelease, layers: Mapping[tuple[Digest, Digest], Member]
) -> list[Finding]:
    ordered = sorted(layers.items(), key=lambda item: -item[1].size)
    with ThreadPoolExecutor(workers(), thread_name_prefix="unpack") as pool:
        found = pool.map(
            lambda item: _diff_id_finding(release.folder, item[1], item[0][1]), ordered
        )
        return [finding for finding in found if finding]


def _diff_id_finding(folder: Path, layer: Member, diff_id: Digest) -> Finding | None:
    match layer.media_type:
        case MediaType.LAYER_TAR:
            plain = layer.digest
        case MediaType.LAYER_GZIP:
            try:
                plain = _plain_digest(folder / layer.path, layer.size)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                return Finding("the layer cannot be unpacked", layer.path, got=str(error))
        case other:
            return Finding("not a kind of layer that is used here", layer.path, got=other[:100])
    if plain != diff_id:
        return Finding("the layer unpacks to something else", layer.path, str(diff_id), str(plain))
    return None


def _plain_digest(path: Path, size: int) -> Digest:
    """Digest of what a gzip blob unpacks to, in constant memory and bounded time."""
    limit = max(PLAIN_FLOOR, MAX_RATIO * size)
    sha = hashlib.sha256()
    seen = 0
    with open_plain(path) as blob, gzip.GzipFile(fileobj=blob) as plain:
        while chunk := plain.read(CHUNK):
            seen += len(chunk)
            if seen > limit:
                raise ValueError(f"it unpacks to more than {limit} bytes")
            sha.update(chunk)
    return Digest(sha.hexdigest())
