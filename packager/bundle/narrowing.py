"""An older release as a site has it that was brought some targets only."""

from __future__ import annotations

from collections.abc import Collection
from typing import BinaryIO

from packager.bundle.composing import ROOT
from packager.carrying import MAX_DOCUMENT, MAX_ROOT, Listing, carried
from packager.closed_world import Inventory
from packager.release_source import DeclaringSource, ReleaseSource, read_bounded


class NarrowedSource:
    """The files of a release that a bundle of some of its targets would carry."""

    def __init__(self, source: ReleaseSource, listing: Listing, targets: Collection[str]) -> None:
        self._source = source
        self._files = carried(
            listing,
            targets,
            lambda path: listing.checked(path, read_bounded(source, path, MAX_DOCUMENT)),
        ).files

    @property
    def location(self) -> str:
        return self._source.location

    def inventory(self) -> Inventory:
        found = self._source.inventory()
        files = {path: size for path, size in found.files.items() if path in self._files}
        return Inventory(files, found.folders, found.findings)

    def open(self, path: str) -> BinaryIO:
        return self._source.open(path)


def narrowed_to(old: ReleaseSource, targets: Collection[str]) -> ReleaseSource:
    """`old` as a site has it that gets `targets`: a delta for one country must not stand on what
    only another one was brought. The same when it carries nothing else, or none of them.

    Raises VerificationError when it is no release.
    """
    listing = Listing.parse(read_bounded(old, ROOT, MAX_ROOT))
    there = set(old.targets) if isinstance(old, DeclaringSource) else set(listing.images)
    common = there & set(targets)
    return old if not common or common == there else NarrowedSource(old, listing, common)
