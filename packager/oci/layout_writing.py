"""One folder for all images of a release: an OCI image layout (image-spec, "OCI Image Layout").

It carries the images, their signatures and attestations, and beside `index.json` a `manifest.json`
in docker-archive form, so that `tar -C images -cf - . | docker load` works with engines that know
nothing of OCI layouts (Docker before 25); encrypted images, which Docker cannot open, are not in
that list. Blobs that images share stand there once. A blob is a
hard link to the store's where the file system can: writing into it in place would be writing into
the store's, which is why the store hashes what it holds before it believes it.
"""

from __future__ import annotations

import shutil
import stat
from dataclasses import replace
from pathlib import Path

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, Image, MediaType
from packager.oci.blobs import BLOB_MODE, BlobFolder
from packager.oci.encryption import is_encrypted
from packager.workspace import link_or_copy, telling_output_errors, write_atomically

REFERENCE_NAME = "org.opencontainers.image.ref.name"
TAG = "dev.packager.tag"
CONTAINERD_NAME = "io.containerd.image.name"
KIND = "kind"  # cosign's own annotation, without a prefix
IMAGE_KIND = "dev.cosignproject.cosign/image"


class LayoutWriter:
    """Writes a layout into `folder`, which is empty or new. `close` makes it whole.

    `blobs` is where `write_image` put configurations and manifests.
    """

    def __init__(self, folder: Path, blobs: BlobFolder) -> None:
        self._folder = folder
        self._source = blobs
        self._blobs = folder / "blobs" / "sha256"
        self._images: list[Image] = []
        self._artifacts: dict[Digest, Artifact] = {}
        with telling_output_errors(folder):
            self._blobs.mkdir(parents=True, exist_ok=True)
            for made in (folder, self._blobs.parent, self._blobs):
                made.chmod(0o755)

    def add_image(self, image: Image) -> None:
        """Add an image with its blobs. Raises ValueError for a second image of the same name."""
        if any(known.reference == image.reference for known in self._images):
            raise ValueError(f"two images of one name: {image.reference}")
        for layer in image.layers:
            if not isinstance(layer.blob, Path):
                raise TypeError(f"a layer that is no file: {layer.blob}")
            self._place(layer.blob, layer.descriptor.digest)
        for descriptor in (image.config, image.manifest):
            self._place(self._source.path(descriptor.digest), descriptor.digest)
        self._images.append(image)

    def add_artifact(self, artifact: Artifact) -> None:
        """Add a signature or attestation. Raises ValueError when bytes and digest differ."""
        named = [(artifact.descriptor.digest, artifact.manifest), *artifact.blobs]
        for digest, data in named:
            if Digest.of(data) != digest:
                raise ValueError(f"an artifact's bytes are not {digest}")
            if not self._target(digest).exists():
                write_atomically(self._target(digest), data)
        self._artifacts[artifact.descriptor.digest] = artifact

    def close(self) -> None:
        """Write `index.json`, `oci-layout` and `manifest.json`. Raises OutputError."""
        images = sorted(self._images, key=lambda image: image.reference)
        documents = {
            "oci-layout": {"imageLayoutVersion": "1.0.0"},
            "index.json": {
                "schemaVersion": 2,
                "mediaType": MediaType.INDEX,
                "manifests": [
                    *(index_entry(image).as_dict() for image in images),
                    *(_artifact_entry(each).as_dict() for each in self._ordered_artifacts(images)),
                ],
            },
            "manifest.json": [docker_entry(image) for image in images if not is_encrypted(image)],
        }
        for name, document in documents.items():
            write_atomically(self._folder / name, dumps(document))

    def _ordered_artifacts(self, images: list[Image]) -> list[Artifact]:
        """In the order of their images: cosign takes the first signature for the first image."""
        places = {image.manifest.digest: place for place, image in reversed([*enumerate(images)])}

        def order(artifact: Artifact) -> tuple[int, str, Digest]:
            place = places.get(artifact.subject, len(images)) if artifact.subject else len(images)
            kind = artifact.descriptor.annotations.get(KIND, "")
            return place, kind, artifact.descriptor.digest

        return sorted(self._artifacts.values(), key=order)

    def _target(self, digest: Digest) -> Path:
        return self._blobs / digest.hex

    def _place(self, source: Path, digest: Digest) -> None:
        target = self._target(digest)
        with telling_output_errors(target):
            if target.exists():
                return
            if stat.S_IMODE(source.stat().st_mode) == BLOB_MODE:
                link_or_copy(source, target)
            else:  # a link would carry the store's mode into the release
                shutil.copyfile(source, target)
            if not target.samefile(source):
                target.chmod(BLOB_MODE)


def index_entry(image: Image) -> Descriptor:
    """An image's descriptor in `index.json`, with the names by which tools look for it."""
    return Descriptor(
        image.manifest.media_type,
        image.manifest.digest,
        image.manifest.size,
        annotations={
            KIND: IMAGE_KIND,
            REFERENCE_NAME: image.reference,
            CONTAINERD_NAME: image.reference,
        },
        platform=image.platform,
    )


def docker_entry(image: Image) -> dict[str, object]:
    """An image's entry in `manifest.json`, as `docker save` writes it."""
    return {
        "Config": f"blobs/sha256/{image.config.digest.hex}",
        "RepoTags": [image.reference],
        "Layers": [f"blobs/sha256/{layer.descriptor.digest.hex}" for layer in image.layers],
    }


def _artifact_entry(artifact: Artifact) -> Descriptor:
    """The artifact's own descriptor, its tag under a name that only we look for.

    containerd makes an image of whatever carries a reference name, and fails to unpack a signature.
    """
    given = artifact.descriptor
    if given.media_type == MediaType.INDEX:  # this one stands for images, and is asked for by name
        return given
    named = {name: text for name, text in given.annotations.items() if name != REFERENCE_NAME}
    return replace(given, annotations=named | ({TAG: artifact.tag} if artifact.tag else {}))
