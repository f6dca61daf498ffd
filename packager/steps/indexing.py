"""Give the images of several architectures one name, signed like an image."""

from __future__ import annotations

from collections.abc import Sequence

from packager.attest.cosign import manifest_referrer, manifest_signature, repository_of
from packager.attest.keys import Signer
from packager.domain.image_index import ImageIndex, indexes_of
from packager.domain.release import BuiltTarget
from packager.oci.layout import LayoutWriter


def index_images(
    built: Sequence[BuiltTarget], signer: Signer, layout: LayoutWriter
) -> tuple[ImageIndex, ...]:
    """The indexes of a release, put into its layout with their signatures."""
    indexes = indexes_of(built)
    for index in indexes:
        repository = repository_of(index.reference)
        layout.add_artifact(index.artifact)
        layout.add_artifact(manifest_signature(index.digest, repository, signer))
        layout.add_artifact(manifest_referrer(index.artifact.descriptor, repository, signer))
    return indexes
