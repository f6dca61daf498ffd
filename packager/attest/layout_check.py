"""The OCI image layout of a release: step 8 (image-spec 1.1, "OCI Image Layout").

Digests were checked before this step; here is checked that they belong together: what the root
says about each target's image is what a container engine would find by following the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from packager.attest.bounded_json import loads
from packager.attest.hashing import workers
from packager.attest.index_check import index_findings
from packager.attest.layout_index import (
    BLOBS,
    IMAGES,
    INDEX,
    MAX_JSON,
    ManifestDocument,
    Member,
    read_index_members,
    read_json,
    read_manifests,
)
from packager.attest.root import ImageBinding
from packager.attest.signed_release import SignedRelease
from packager.attest.unpacking import (
    COMPRESSED,
    content_finding,
    form_finding,
    plain_digest,
)
from packager.decompression import DAMAGE
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding, VerificationError
from packager.release_source import ReleaseSource

_BLOB_NAME = re.compile(r"[0-9a-f]{64}")
_OCI_LAYOUT = f"{IMAGES}/oci-layout"
_DOCKER_MANIFEST = f"{IMAGES}/manifest.json"
_BESIDE_BLOBS = frozenset({_OCI_LAYOUT, INDEX, _DOCKER_MANIFEST})


def check_layout(release: SignedRelease, *, contents: bool = False) -> dict[str, int]:
    """Step 8, images: every image of the root is in the index with exactly its configuration and
    layers; nothing else lies in the layout; layers are of a known kind. With `contents`, they also
    unpack to what the configuration promises."""
    findings = list(_layout_findings(release))
    manifests = read_manifests(release)
    reached = {member.path for document in manifests for member in document.members}
    reached.update(member.path for member in read_index_members(release))
    if release.part:
        reached.update(release.part.manifests)
    findings += _stray_blobs(release, reached)
    layers: dict[tuple[Digest, Digest], Member] = {}
    by_digest = {document.member.digest: document for document in manifests}
    for image in release.root.images:
        try:
            layers |= _image_layers(release, image, by_digest.get(image.manifest))
        except VerificationError as error:
            findings += error.findings
    findings += index_findings(release)
    findings += _docker_findings(release, by_digest)
    findings += _diff_id_findings(release, layers, contents=contents)
    if findings:
        raise VerificationError.of(findings)
    packed = {layer.path for layer in layers.values() if layer.media_type in COMPRESSED}
    counted = {
        "images": len({image.manifest for image in release.root.images}),
        "layers": len(layers),
        "unpacked": len(packed) if contents else 0,
    }
    indexes = len(release.root.indexes)
    return counted | ({"indexes": indexes} if indexes else {})


def _layout_findings(release: SignedRelease) -> Iterator[Finding]:
    if read_json(release, _OCI_LAYOUT) != {"imageLayoutVersion": "1.0.0"}:
        yield Finding("not an OCI image layout 1.0.0", _OCI_LAYOUT)


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


def _docker_findings(
    release: SignedRelease, by_digest: Mapping[Digest, ManifestDocument]
) -> list[Finding]:
    """`manifest.json` is what `docker load` follows instead of the index: it must say the same."""
    if _DOCKER_MANIFEST not in release.listed:
        return []
    expected = [
        {
            "Config": f"blobs/sha256/{image.config.hex}",
            "RepoTags": [image.reference],
            "Layers": [f"blobs/sha256/{layer.digest.hex}" for layer in document.layers],
        }
        for image in release.root.images
        if (document := by_digest.get(image.manifest)) and not document.encrypted
    ]
    try:
        signed = release.read(_DOCKER_MANIFEST, MAX_JSON)
        found = loads(release.part.docker_manifest if release.part else signed, limit=MAX_JSON)
    except ValueError as error:
        return [Finding("it cannot be understood", _DOCKER_MANIFEST, got=str(error))]
    same = isinstance(found, list) and len(found) == len(expected)
    if same and all(entry in expected for entry in found) and all(one in found for one in expected):
        return []
    return [Finding("it lists other images than the release", _DOCKER_MANIFEST)]


def _image_layers(
    release: SignedRelease, image: ImageBinding, document: ManifestDocument | None
) -> dict[tuple[Digest, Digest], Member]:
    """Blob digest and diff_id → layer, once the image is found to be what the root says."""
    where = f"{image.target}: image {image.manifest}"
    if document is None:
        raise VerificationError("the image is not in the index", where=where)
    if sum(member.size for member in document.members) != image.size:
        raise VerificationError("the root says another size", where=where)
    config = document.config
    if config.digest != image.config or config.media_type != MediaType.CONFIG:
        raise VerificationError("the image has another configuration", where=where)
    if document.subject or document.artifact_type:
        raise VerificationError("an artifact stands in the place of an image", where=where)
    found = read_json(release, config.path)
    for name in ("os", "architecture", "variant"):
        expected = image.platform.as_dict().get(name)
        if found.get(name) != expected:
            raise VerificationError(
                f"the image's {name} differs",
                where=where,
                expected=expected,
                got=f"{found.get(name)!r:.80}",
            )
    return check_paired(found, document.layers, where)


def check_paired(
    config: Mapping[str, Any], layers: tuple[Member, ...], where: str
) -> dict[tuple[Digest, Digest], Member]:
    """Blob digest and diff_id → layer; raises VerificationError when they are not as many."""
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
    release: SignedRelease, layers: Mapping[tuple[Digest, Digest], Member], *, contents: bool
) -> list[Finding]:
    ordered = sorted(layers.items(), key=lambda item: -item[1].size)
    with ThreadPoolExecutor(workers(), thread_name_prefix="unpack") as pool:
        found = pool.map(
            lambda item: _diff_id_finding(release.source, item[1], item[0][1], contents), ordered
        )
        return [finding for finding in found if finding]


def _diff_id_finding(
    source: ReleaseSource, layer: Member, diff_id: Digest, contents: bool
) -> Finding | None:
    if not contents or layer.media_type not in COMPRESSED:
        return form_finding(layer, diff_id, layer.path)
    try:
        with source.open(layer.path) as blob:
            found = plain_digest(blob, layer.size, layer.media_type)
    except (OSError, *DAMAGE) as error:
        return Finding("the layer cannot be unpacked", layer.path, got=str(error))
    return content_finding(found, diff_id, layer.path)
