"""One name for the images of several architectures (image-spec, "OCI Image Index").

An engine that asks for the name takes the first entry that fits its machine. So an index has one
image for each architecture and no more: among accelerators an engine cannot choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, MediaType, NamedArtifact, Platform
from packager.domain.release import BuiltTarget

_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, order=True)
class IndexedImage:
    """An entry of an index: a target's image."""

    platform: Platform
    manifest: Digest
    size: int
    target: str


@dataclass(frozen=True, slots=True)
class ImageIndex(NamedArtifact):
    """`registry/name:<version>-<jurisdiction>-<platform>`."""

    images: tuple[IndexedImage, ...]

    def as_dict(self) -> dict[str, object]:
        """As `release.json` names it."""
        told = NamedArtifact.as_dict(self)
        return told | {"targets": [image.target for image in self.images]}


def index_bytes(images: Iterable[IndexedImage]) -> bytes:
    """The index of these images, canonical, in the order of their platforms."""
    entries = [
        Descriptor(MediaType.MANIFEST, one.manifest, one.size, platform=one.platform).as_dict()
        for one in sorted(images)
    ]
    return dumps({"schemaVersion": 2, "mediaType": MediaType.INDEX, "manifests": entries})


def indexes_of(built: Sequence[BuiltTarget]) -> tuple[ImageIndex, ...]:
    """An index for each jurisdiction and deployment platform that has images of several
    architectures in one repository, and for each of these one image that is the obvious one: the
    only one, or the only one for a processor alone."""
    groups: dict[str, list[BuiltTarget]] = {}
    for target in built:
        groups.setdefault(_reference(target), []).append(target)
    return tuple(
        _index(reference, chosen)
        for reference, targets in sorted(groups.items())
        if len(chosen := _obvious(targets)) > 1
    )


def _reference(target: BuiltTarget) -> str:
    """As the image's own, without the hardware."""
    name, whole = target.plan.name, target.plan.reference
    slug = f"{name.jurisdiction}-{name.platform.value}"
    return f"{whole.removesuffix(name.slug)}{slug}"


def _obvious(targets: Sequence[BuiltTarget]) -> list[BuiltTarget]:
    """One target for each architecture; none at all where an architecture has no obvious one."""
    chosen = []
    for architecture in sorted({one.image.platform.architecture for one in targets}):
        fitting = [one for one in targets if one.image.platform.architecture == architecture]
        if len(fitting) > 1:
            fitting = [one for one in fitting if one.plan.hardware.execution_provider == _CPU]
        if len(fitting) != 1:
            return []
        chosen += fitting
    return chosen


def _index(reference: str, targets: Sequence[BuiltTarget]) -> ImageIndex:
    images = tuple(
        sorted(
            IndexedImage(
                one.image.platform,
                one.image.manifest.digest,
                one.image.manifest.size,
                str(one.plan.name),
            )
            for one in targets
        )
    )
    data = index_bytes(images)
    descriptor = Descriptor(
        MediaType.INDEX,
        Digest.of(data),
        len(data),
        {"org.opencontainers.image.ref.name": reference, "io.containerd.image.name": reference},
    )
    return ImageIndex(reference, Artifact(descriptor, data, ()), images)
