"""Indexes over images of several architectures, against what the root says of their targets.

An index is a manifest like any other to an engine that pulls by its name, so it may lead to the
images of its own targets only. It is not parsed: its bytes are made anew from the root, and must be
the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from packager.attest.layout_index import BLOBS, read_index_members
from packager.attest.root import ImageBinding, IndexBinding
from packager.attest.signed_release import SignedRelease
from packager.digest import Digest
from packager.domain.image_index import IndexedImage, index_bytes
from packager.errors import Finding


def index_findings(release: SignedRelease) -> Iterator[Finding]:
    """What is wrong with the indexes of the root."""
    bound = {index.manifest: index for index in release.root.indexes}
    images = {image.target: image for image in release.root.images}
    found = {member.digest for member in read_index_members(release)}
    for digest, index in sorted(bound.items()):
        where = f"index {index.reference}"
        if digest not in found:
            yield Finding("the index of several architectures is not in the layout", where)
        elif Digest.of(_expected(release, index, images)) != digest:
            yield Finding(
                "the index leads to other images than its targets'", where, ", ".join(index.targets)
            )


def _expected(
    release: SignedRelease, index: IndexBinding, images: dict[str, ImageBinding]
) -> bytes:
    return index_bytes(
        IndexedImage(
            images[target].platform,
            images[target].manifest,
            release.listed[f"{BLOBS}/{images[target].manifest.hex}"].size,
            target,
        )
        for target in index.targets
        if target in images and f"{BLOBS}/{images[target].manifest.hex}" in release.listed
    )
