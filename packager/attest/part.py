"""A source that carries some targets of a release: narrows what must be there to what they need."""

from __future__ import annotations

from dataclasses import replace

from packager.attest.root import MAX_ROOT, ROOT
from packager.attest.signed_release import SignedRelease
from packager.carrying import MAX_DOCUMENT, Listing, carried
from packager.errors import VerificationError
from packager.release_source import DeclaringSource, read_bounded


def narrowed(release: SignedRelease) -> SignedRelease:
    """The release as its source carries it; the same one when it carries all.

    Raises VerificationError when the source declares targets that the root does not name, or the
    documents that tell what belongs to whom are not as signed.
    """
    source = release.source
    if not isinstance(source, DeclaringSource):
        return release
    declared = set(source.targets)
    images = tuple(image for image in release.root.images if image.target in declared)
    if not images or len(images) != len(declared):
        raise VerificationError(
            "it declares targets that the release does not have",
            where=source.location,
            expected=", ".join(image.target for image in release.root.images),
            got=", ".join(sorted(declared))[:300],
        )
    if len(images) == len(release.root.images):
        return release
    listing = Listing.parse(read_bounded(source, ROOT, MAX_ROOT))
    part = carried(listing, declared, lambda path: release.read(path, MAX_DOCUMENT))
    return replace(
        release,
        root=replace(
            release.root,
            images=images,
            indexes=tuple(one for one in release.root.indexes if declared.issuperset(one.targets)),
        ),
        listed={path: file for path, file in release.listed.items() if path in part.files},
        part=part,
    )
