"""Pushes a layout: images with their signatures and attestations, each where it is told to.

An image's manifest goes up by digest, then what accompanies it, and its tag last, so that nobody
meets a tag whose signature is still on its way. Signatures go under the tags where classic cosign
looks for them; artifacts with a subject also into the referrers index `sha256-<hex>` where the
registry keeps none itself (distribution-spec 1.1, "Referrers Tag Schema").
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, Image, MediaType
from packager.errors import Finding, InputError
from packager.oci.json_document import parse
from packager.oci.layout_reading import Layout, StoredBlob, read_layout
from packager.oci.reference import Reference
from packager.oci.registry_client import Repository
from packager.progress import SILENT, Progress
from packager.release_source import Files

_AT_ONCE = 4


def push(
    layout_files: Files | Path,
    destinations: Mapping[str, str],
    *,
    plain_http: bool = False,
    certificates: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, str]:
    """Push images of a layout; `destinations` maps reference → `registry/repository:tag`.

    Returns reference → `registry/repository@sha256:…` in the order of the layout. Plain HTTP is
    used on loopback only, or everywhere with `plain_http`; `certificates` is a PEM file of
    authorities to trust instead of the system's. Raises InputError for destinations that are not
    names or clash, VerificationError for an unsound layout, UnavailableError for the registry.
    """
    # The registry compares every blob with its digest, so the layers are not hashed here as well.
    layout = read_layout(layout_files, check_layers=False)
    targets = _targets(layout, destinations)
    pushed: dict[str, str] = {}
    holders: dict[tuple[str, Digest], str] = {}
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
    holders: dict[tuple[str, Digest], str],
    progress: Progress,
) -> None:
    done = 0
    telling = threading.Lock()

    def sent(size: int) -> None:
        nonlocal done
        with telling:
            done += size
            progress.advance(f"push {target}", max(0, min(done, image.size)), image.size)

    def push_blob(descriptor: Descriptor) -> None:
        holder = holders.get((target.host, descriptor.digest))
        repository.push_blob(
            descriptor.digest,
            descriptor.size,
            StoredBlob(layout.files, descriptor.digest),
            sent,
            mount_from=holder if holder != target.repository else None,
        )
        holders[target.host, descriptor.digest] = target.repository

    blobs = {one.digest: one for one in (*(each.descriptor for each in image.layers), image.config)}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as pool:
        jobs = [pool.submit(push_blob, blob) for blob in blobs.values()]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
    with StoredBlob(layout.files, image.manifest.digest).open() as stream:
        manifest = stream.read()
    repository.push_manifest(str(image.manifest.digest), manifest, image.manifest.media_type)
    for artifact in layout.artifacts_of(image):
        push_artifact(repository, artifact)
    repository.push_manifest(target.tag, manifest, image.manifest.media_type)
    sent(image.manifest.size)


def push_artifact(repository: Repository, artifact: Artifact) -> None:
    """Push what accompanies a manifest under its tag or digest, and among the referrers."""
    for digest, data in artifact.blobs:
        repository.push_blob(digest, len(data), data, lambda _: None)
    tracked = repository.push_manifest(
        artifact.tag or str(artifact.descriptor.digest),
        artifact.manifest,
        artifact.descriptor.media_type,
    )
    subject = json.loads(artifact.manifest).get("subject")
    if subject and not tracked:
        _add_referrer(repository, artifact, f"sha256-{Digest.parse(subject['digest']).hex}")


def _add_referrer(repository: Repository, artifact: Artifact, tag: str) -> None:
    """Read the index under the fallback tag, add the artifact, write it back."""
    known = repository.pull_index(tag)
    others = parse(known, f"referrers index {tag}").children("manifests") if known else []
    digest = str(artifact.descriptor.digest)
    entries = [entry.values for entry in others if entry.values.get("digest") != digest]
    index = {
        "schemaVersion": 2,
        "mediaType": MediaType.INDEX,
        "manifests": [*entries, referrer_entry(artifact)],
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
