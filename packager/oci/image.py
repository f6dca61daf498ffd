"""Ties layers together: the image configuration and the manifest (image-spec 1.1).

Both are canonical JSON, so the manifest's digest is a function of the layers and the settings.
"Now" is the epoch. Every layer descriptor says its kind in the annotation `dev.packager.layer`.
"""

from __future__ import annotations

from collections.abc import Sequence

from packager.canonical import SourceDateEpoch, dumps
from packager.content import ImageSettings
from packager.domain.artifact import Descriptor, Image, Layer, MediaType, Platform
from packager.oci.blobs import BlobFolder


def write_image(
    layers: Sequence[Layer],
    settings: ImageSettings,
    platform: Platform,
    reference: str,
    epoch: SourceDateEpoch,
    blobs: BlobFolder,
) -> Image:
    """Write configuration and manifest into `blobs`; the layers are there already.

    `reference` is `registry/repository:tag`; it names the image in a layout and is no part of the
    image itself. Raises OutputError when the disk says no.
    """
    config_bytes = dumps(_configuration(layers, settings, platform, epoch))
    config = Descriptor(MediaType.CONFIG, blobs.put(config_bytes), len(config_bytes))
    data = manifest_bytes(config, layers)
    manifest = Descriptor(MediaType.MANIFEST, blobs.put(data), len(data))
    return Image(reference, platform, manifest, config, tuple(layers))


def _configuration(
    layers: Sequence[Layer], settings: ImageSettings, platform: Platform, epoch: SourceDateEpoch
) -> dict[str, object]:
    """image-spec, "OCI Image Configuration"."""
    created = epoch.rfc3339()
    return {
        **platform.as_dict(),
        "created": created,
        "config": {
            "Entrypoint": list(settings.entrypoint),
            "Env": [f"{name}={value}" for name, value in sorted(settings.environment.items())],
            "ExposedPorts": {port: {} for port in settings.ports},
            "Labels": dict(settings.labels),
            "User": settings.user,
            "WorkingDir": settings.working_dir,
        },
        "history": [{"created": created, "created_by": layer.created_by} for layer in layers],
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
    }


def manifest_bytes(config: Descriptor, layers: Sequence[Layer]) -> bytes:
    """image-spec, "OCI Image Manifest", as canonical JSON."""
    return dumps(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": config.as_dict(),
            "layers": [layer.descriptor.as_dict() for layer in layers],
        }
    )
