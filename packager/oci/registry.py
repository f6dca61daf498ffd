"""Pushes a layout: images with their signatures and attestations, each where it is told to.

An image's manifest goes up by digest, then what accompanies it, and its tag last, so that nobody
meets a tag whose signature is still on its way. Signatures go under the tags where classic cosign
looks for them; artifacts with a subject also into the referrers index `sha256-<hex>` where the
registry keeps none itself (distribution-spec 1.1, "Referrers Tag Schema").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Image, MediaType
from packager.errors import Finding, InputError
from packager.oci.holders import Holders
from packager.oci.json_document import parse
from packager.oci.layout_reading import Layout, StoredBlob, read_layout
from packager.oci.reference import Reference
from packager.oci.registry_client import Repository
from packager.oci.uploading import Meter, Upload, side_by_side, upload, uploads_of
from packager.progress import SILENT, Progress
from packager.release_source import Files


def push(
    layout_files: Files | Path,
    destinations: Mapping[str, str],
    *,
    plain_http: bool = False,
    certificates: Path | None = None,
    progress: Progress = SILENT,
    holders: Holders | None = None,
) -> dict[str, str]:
    """Push images of a layout; `destinations` maps reference → `registry/repository:tag`. `holders`
    knows what is there already, and learns what comes to be.

    Returns reference → `registry/repository@sha256:…` in the order of the layout. Plain HTTP is
    used on loopback only, or everywhere with `plain_http`; `certificates` is a PEM file of
    authorities to trust instead of the system's. Raises InputError for destinations that are not
    names or clash, VerificationError for an unsound layout, UnavailableError for the registry.
    """
    # The registry compares every blob with its digest, so the layers are not hashed here as well.
    layout = read_layout(layout_files, check_layers=False)
    targets = _targets(layout, destinations)
    pushed: dict[str, str] = {}
    holders = Holders() if holders is None else holders
    for image, target in targets:
        progress.step(f"push {target}")
        with Repository(target, plain_http=plain_http, certificates=certificates) as repository:
            repository.ping()
            _push_image(repository, layout, image, target, holders, progress)
        pushed[image.reference] = f"{target.host}/{target.repository}@{image.manifest.digest}"
    return pushed


def _targets(layout: Layout, destinations: Mapping[str, str]) -> list[tuple[Image, Reference]]:
    """The images with their destinations, all of them read before anything is sent."""
    findings: list[Finding] = []
    targets: list[tuple[Image, Reference]] = []
    taken: dict[Reference, Image] = {}
    chosen = {layout.image(name).reference for name in destinations}
    for image in (image for image in layout.images if image.reference in chosen):
        try:
            target = Reference.parse(destinations[image.reference])
        except InputError as error:
            findings.extend(error.findings)
            continue
        other = taken.setdefault(target, image)
        if other.manifest.digest != image.manifest.digest:
            findings.append(
                Finding(
                    "two images would be pushed to one name",
                    str(target),
                    "a name for each image",
                    f"{other.reference} and {image.reference}",
                    "push them below different registries or repositories",
                )
            )
        targets.append((image, target))
    if findings:
        raise InputError.of(findings)
    return targets


def _push_image(
    repository: Repository,
    layout: Layout,
    image: Image,
    target: Reference,
    holders: Holders,
    progress: Progress,
) -> None:
    artifacts = layout.artifacts_of(image)
    blobs = [
        Upload(each.digest, each.size, StoredBlob(layout.files, each.digest))
        for each in (*(layer.descriptor for layer in image.layers), image.config)
    ]
    blobs += uploads_of(artifacts)
    once = {blob.digest: blob.size for blob in blobs}
    sent = Meter(f"push {target}", sum(once.values()) + image.manifest.size, progress)
    upload(repository, target, blobs, holders, sent)
    with StoredBlob(layout.files, image.manifest.digest).open() as stream:
        manifest = stream.read()
    repository.push_manifest(str(image.manifest.digest), manifest, image.manifest.media_type)
    push_manifests(repository, artifacts)
    repository.push_manifest(target.tag, manifest, image.manifest.media_type)
    sent(image.manifest.size)


def push_manifests(repository: Repository, artifacts: Sequence[Artifact]) -> None:
    """Push what accompanies a manifest, whose blobs are there, under its tag or digest, and among
    the referrers."""

    def push_one(artifact: Artifact) -> bool:
        return repository.push_manifest(
            artifact.tag or str(artifact.descriptor.digest),
            artifact.manifest,
            artifact.descriptor.media_type,
        )

    tracked = side_by_side([lambda one=one: push_one(one) for one in artifacts])  # type: ignore[misc]
    untold: dict[Digest, list[Artifact]] = {}
    for artifact, told in zip(artifacts, tracked, strict=True):
        subject = json.loads(artifact.manifest).get("subject")
        if subject and not told:
            untold.setdefault(Digest.parse(subject["digest"]), []).append(artifact)
    for digest, referring in untold.items():
        _add_referrers(repository, referring, f"sha256-{digest.hex}")


def _add_referrers(repository: Repository, artifacts: Sequence[Artifact], tag: str) -> None:
    """Read the index under the fallback tag, add the artifacts, write it back."""
    known = repository.pull_index(tag)
    others = parse(known, f"referrers index {tag}").children("manifests") if known else []
    ours = {str(artifact.descriptor.digest) for artifact in artifacts}
    entries = [entry.values for entry in others if entry.values.get("digest") not in ours]
    index = {
        "schemaVersion": 2,
        "mediaType": MediaType.INDEX,
        "manifests": [*entries, *(referrer_entry(artifact) for artifact in artifacts)],
    }
    repository.push_manifest(tag, dumps(index), MediaType.INDEX)


def referrer_entry(artifact: Artifact) -> dict[str, object]:
    """How a referrers list describes an artifact: by its manifest's own type and annotations."""
    manifest = json.loads(artifact.manifest)
    entry: dict[str, object] = {
        "mediaType": artifact.descriptor.media_type,
        "digest": str(artifact.descriptor.digest),
        "size": artifact.descriptor.size,
        "artifactType": manifest.get("artifactType") or manifest["config"]["mediaType"],
    }
    if manifest.get("annotations"):
        entry["annotations"] = manifest["annotations"]
    return entry
