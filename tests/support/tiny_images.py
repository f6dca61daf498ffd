"""Tiny images by hand: layers of a few bytes, written by the real store into a real layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from packager.archive import Entry
from packager.canonical import SourceDateEpoch, dumps
from packager.content import Compression, ImageSettings, LayerContent
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, Image, MediaType, Platform
from packager.oci.image import write_image
from packager.oci.layer import LayerStore
from packager.oci.layout import LayoutWriter

REFERENCE = "registry.example.de/ml/tiny:1.0.0-de"
SETTINGS = ImageSettings(
    entrypoint=("/probe",),
    environment={"B": "2", "A": "1"},
    user="65532:65532",
    working_dir="/",
    ports=("8080/tcp",),
    labels={"org.opencontainers.image.title": "tiny"},
)


def content(
    kind: str,
    files: dict[str, bytes],
    compression: Compression = Compression.GZIP,
    executable: Sequence[str] = (),
) -> LayerContent:
    """A layer of `files`, path → bytes."""
    made_from = {path: str(Digest.of(data)) for path, data in files.items()}
    return LayerContent(
        kind,
        Digest.of(dumps({"kind": kind, "files": made_from})),
        compression,
        f"packager: {kind}",
        lambda: [
            Entry.of_bytes(path, data, executable=path in executable)
            for path, data in files.items()
        ],
    )


def tiny_image(
    store: LayerStore,
    reference: str = REFERENCE,
    model: bytes = b"weights",
    program: bytes = b"#!/bin/sh\n",
    architecture: str = "amd64",
    compression: Compression = Compression.GZIP,
) -> Image:
    """An image of three layers: a shared one, a model and a configuration."""
    layers = [
        store.write(content("system", {"probe": program}, compression, executable=["probe"])),
        store.write(content("model", {"opt/model.onnx": model}, Compression.NONE)),
        store.write(content("configuration", {"opt/server.json": reference.encode()}, compression)),
    ]
    platform = Platform("linux", architecture)
    return write_image(layers, SETTINGS, platform, reference, SourceDateEpoch(), store.blobs)


def signature(image: Image) -> Artifact:
    """An artifact of the form of a classic cosign signature; its signature is no signature."""
    return _artifact(
        image,
        MediaType.SIMPLE_SIGNING,
        dumps({"critical": {"image": {"docker-manifest-digest": str(image.manifest.digest)}}}),
        kind="dev.cosignproject.cosign/sigs",
        tag=f"sha256-{image.manifest.digest.hex}.sig",
    )


def referrer(image: Image, text: str = "evidence") -> Artifact:
    """An artifact that names the image as its subject (image-spec 1.1)."""
    return _artifact(
        image, MediaType.SIGSTORE_BUNDLE, dumps({"evidence": text}), kind=None, tag=None
    )


def layout(folder: Path, store: LayerStore, *images: Image, artifacts: Sequence[Artifact] = ()):
    """Write a layout of `images` and `artifacts` into `folder`."""
    writer = LayoutWriter(folder, store.blobs)
    for image in images:
        writer.add_image(image)
    for artifact in artifacts:
        writer.add_artifact(artifact)
    writer.close()
    return folder


def _artifact(
    image: Image, media_type: str, blob: bytes, *, kind: str | None, tag: str | None
) -> Artifact:
    config = b"{}"
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MediaType.MANIFEST,
        "config": Descriptor(MediaType.EMPTY, Digest.of(config), len(config)).as_dict(),
        "layers": [Descriptor(media_type, Digest.of(blob), len(blob)).as_dict()],
    }
    if tag is None:
        document |= {
            "artifactType": media_type,
            "subject": image.manifest.as_dict(),
            "annotations": {"dev.sigstore.bundle.content": "dsse-envelope"},
        }
    manifest = dumps(document)
    annotations = {"kind": kind, "org.opencontainers.image.ref.name": tag} if tag else {}
    return Artifact(
        descriptor=Descriptor(
            MediaType.MANIFEST,
            Digest.of(manifest),
            len(manifest),
            annotations=annotations,
            platform=Platform("unknown", "unknown"),
            artifact_type=None if tag else media_type,
        ),
        manifest=manifest,
        blobs=((Digest.of(config), config), (Digest.of(blob), blob)),
        tag=tag,
        subject=image.manifest.digest,
    )


def edit_json(path: Path, change) -> None:
    """Change a JSON document in place; the file is replaced, so no hard link is written through."""
    document = json.loads(path.read_bytes())
    change(document)
    path.unlink()
    path.write_bytes(json.dumps(document).encode())
