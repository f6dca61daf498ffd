"""OCI values: media types, platforms, descriptors, images (OCI image specification 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol

from packager.digest import Digest


class MediaType:
    """The media types that we write. Names as in the specifications that define them."""

    INDEX = "application/vnd.oci.image.index.v1+json"
    MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    CONFIG = "application/vnd.oci.image.config.v1+json"
    LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
    LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
    LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
    LAYER_TAR_ENCRYPTED = "application/vnd.oci.image.layer.v1.tar+encrypted"
    LAYER_GZIP_ENCRYPTED = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
    EMPTY = "application/vnd.oci.empty.v1+json"
    SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
    DSSE = "application/vnd.dsse.envelope.v1+json"
    SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
    HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
    HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """Operating system and architecture, in Go's words as OCI uses them."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def as_dict(self) -> dict[str, str]:
        described = {"os": self.os, "architecture": self.architecture}
        return described | ({"variant": self.variant} if self.variant else {})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """image-spec, "Content Descriptors": what a blob is, its digest, its size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The JSON form of the specification; empty fields are left out."""
        described: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            described["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform:
            described["platform"] = self.platform.as_dict()
        if self.artifact_type:
            described["artifactType"] = self.artifact_type
        return described


class Openable(Protocol):
    """What can be read from its start: a file, as a `Path` is one, or a piece of a bundle."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a blob: a file where it was made, or what stands for one where it was read.

    `descriptor` is of the blob (compressed or not), `diff_id` of the plain tar, `kind` is its place
    in the order of sharing: system, python, provider, runtime, model or configuration. `plain` is
    the descriptor of what an encrypted layer was made from, None when it is not encrypted.
    """

    kind: str
    descriptor: Descriptor
    diff_id: Digest
    blob: Openable
    created_by: str
    plain: Descriptor | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An assembled image: its manifest's descriptor and what the manifest names."""

    reference: str
    platform: Platform
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes that a registry stores for it: manifest, configuration and layers."""
        return (
            self.manifest.size
            + self.config.size
            + sum(layer.descriptor.size for layer in self.layers)
        )


@dataclass(frozen=True, slots=True)
class Artifact:
    """A small manifest that accompanies an image: a signature or an attestation.

    `descriptor` carries the annotations for `index.json`; `blobs` are the bytes that the manifest
    names; `tag` is the tag under which classic cosign looks for it in a registry.
    """

    descriptor: Descriptor
    manifest: bytes
    blobs: tuple[tuple[Digest, bytes], ...]
    tag: str | None = None
    subject: Digest | None = None


@dataclass(frozen=True, slots=True)
class NamedArtifact:
    """Something of a release that has a name of its own in a registry, `repository:tag`."""

    reference: str
    artifact: Artifact

    @property
    def digest(self) -> Digest:
        """Of its manifest."""
        return self.artifact.descriptor.digest

    @property
    def pinned(self) -> str:
        """`repository@sha256:…`"""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"

    def as_dict(self) -> dict[str, object]:
        """As `release.json` names it."""
        return {
            "reference": self.reference,
            "pinned": self.pinned,
            "digest": str(self.digest),
        }
