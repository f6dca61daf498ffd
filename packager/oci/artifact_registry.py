"""Pushes what of a layout is no image: charts, and indexes over images, with their signatures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from packager.digest import Digest
from packager.errors import VerificationError
from packager.oci.holders import Holders
from packager.oci.layout_reading import read_layout
from packager.oci.reference import Reference
from packager.oci.registry import push_manifests
from packager.oci.registry_client import Repository
from packager.oci.uploading import upload, uploads_of
from packager.progress import SILENT, Progress
from packager.release_source import Files


def push_artifacts(
    layout_files: Files | Path,
    destinations: Mapping[str, tuple[Digest, str]],
    *,
    plain_http: bool = False,
    progress: Progress = SILENT,
    holders: Holders | None = None,
) -> dict[str, str]:
    """Push them; `destinations` maps reference → the manifest's digest, and where to:
    `registry/repository:version`.

    The signature goes first and the version last, so that nobody meets a name whose signature is
    still on its way. Returns reference → `registry/repository@sha256:…`. Raises as `registry.push`.
    """
    if not destinations:
        return {}
    layout = read_layout(layout_files, check_layers=False)
    manifests = {artifact.descriptor.digest: artifact for artifact in layout.artifacts}
    holders = Holders() if holders is None else holders
    pushed: dict[str, str] = {}
    for reference, (digest, name) in destinations.items():
        target = Reference.parse(name)
        found = manifests.get(digest)
        if found is None:
            raise VerificationError(
                "the image layout lacks what the release names", where=reference
            )
        progress.step(f"push {target}")
        with Repository(target, plain_http=plain_http) as repository:
            repository.ping()
            accompanying = [one for one in layout.artifacts if one.subject == digest]
            upload(repository, target, uploads_of([found, *accompanying]), holders, lambda _: None)
            push_manifests(repository, [found])
            push_manifests(repository, accompanying)
            repository.push_manifest(target.tag, found.manifest, found.descriptor.media_type)
        pushed[reference] = f"{target.host}/{target.repository}@{digest}"
    return pushed
