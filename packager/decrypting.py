"""Open an encrypted image of a verified release with the key that is held in the country."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from packager import pipeline
from packager.digest import Digest
from packager.domain.artifact import Image, Layer
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.oci.blobs import BlobFolder
from packager.oci.decryption import DecryptionKey, decrypt_image
from packager.oci.layout import LayoutWriter, read_layout
from packager.oci.layout_reading import Layout
from packager.progress import Progress
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


def decrypt(
    release: Path,
    trust: TrustFiles,
    target: TargetName | None,
    key: Path,
    output: Path,
    progress: Progress,
) -> Decrypted:
    """Verify a release, then write a target's image as a plain OCI layout to `output`.

    Raises VerificationError when the release is not as signed, the key is not a recipient's, or a
    layer is not what was encrypted; nothing is published then.
    """
    opened = DecryptionKey(key)
    found = pipeline.open_verified(release, trust, progress)
    chosen = found.target(target)
    layout = read_layout(found.images, check_layers=False)
    with publishing(output) as work:
        progress.step(f"decrypt {chosen.name}")
        blobs = BlobFolder(work.work / "blobs")
        image = _brought(layout.image_of(chosen.digest), layout, blobs)
        plain = decrypt_image(image, opened, blobs)
        writer = LayoutWriter(work.release, blobs)
        writer.add_image(plain)
        writer.close()
    return Decrypted(
        str(chosen.name), output, plain.reference, plain.manifest.digest, plain.config.digest
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
