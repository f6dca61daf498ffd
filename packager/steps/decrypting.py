"""A target's encrypted image as a plain one, opened with the key that is held in the country."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.artifact import Image, Layer
from packager.oci.blobs import BlobFolder
from packager.oci.decryption import DecryptionKey, decrypt_image
from packager.oci.layout import LayoutWriter, read_layout
from packager.oci.layout_reading import Layout
from packager.progress import Progress
from packager.release_folder import ReleasedTarget, ReleaseFolder
from packager.workspace import publishing


@dataclass(frozen=True, slots=True)
class Decrypted:
    """A plain image in a layout of its own. `image_id` is what Docker's classic store and podman
    show, and what release.json names as the image's `config`."""

    target: str
    layout: Path
    reference: str
    manifest: Digest
    image_id: Digest

    def as_dict(self) -> dict[str, str]:
        """For `--json`."""
        return {
            "target": self.target,
            "layout": str(self.layout),
            "reference": self.reference,
            "manifest": str(self.manifest),
            "image_id": str(self.image_id),
        }


def plain_layout(
    folder: ReleaseFolder,
    target: ReleasedTarget,
    key: DecryptionKey,
    output: Path,
    progress: Progress,
) -> Decrypted:
    """Write the image of a target of a verified release as a plain OCI layout to `output`, which
    only its owner may enter.

    Raises VerificationError when the key is not a recipient's or a layer is not what was encrypted,
    InputError for an image that is not encrypted; nothing is published then.
    """
    layout = read_layout(folder.images, check_layers=False)
    with publishing(output, private=True) as work:
        progress.step(f"decrypt {target.name}")
        blobs = BlobFolder(work.work / "blobs")
        image = _brought(layout.image_of(target.digest), layout, blobs)
        plain = decrypt_image(image, key, blobs)
        writer = LayoutWriter(work.release, blobs)
        writer.add_image(plain)
        writer.close()
    return Decrypted(
        str(target.name), output, plain.reference, plain.manifest.digest, plain.config.digest
    )


def _brought(image: Image, layout: Layout, blobs: BlobFolder) -> Image:
    """The image with its small documents in `blobs`, and its layers as files."""
    source = layout.files.open(f"blobs/sha256/{image.config.digest.hex}")
    with source, blobs.incoming() as target:
        shutil.copyfileobj(source, target)
    return replace(image, layers=tuple(_as_file(layer, blobs) for layer in image.layers))


def _as_file(layer: Layer, blobs: BlobFolder) -> Layer:
    if isinstance(layer.blob, Path):
        return layer
    with layer.blob.open("rb") as source, blobs.incoming() as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return replace(layer, blob=blobs.path(layer.descriptor.digest))
