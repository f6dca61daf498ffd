"""A release beside its images in the registry, so that sites can install from there."""

from __future__ import annotations

from packager.carrying import MAX_ROOT, Listing
from packager.oci.holders import Holders
from packager.oci.reference import Reference
from packager.oci.release_artifact import push_release
from packager.progress import Progress
from packager.release_folder import ReleaseFolder
from packager.release_source import read_bounded


def push_releases(
    release: ReleaseFolder,
    registry: str | None,
    plain_http: bool,
    holders: Holders,
    progress: Progress,
) -> dict[str, str]:
    """The release as an artifact beside its images: in each repository what its targets need."""
    listing = Listing.parse(read_bounded(release.source, "release.json", MAX_ROOT))
    places: dict[str, list[str]] = {}
    for reference, place in release.repositories(registry).items():
        names = [str(each.name) for each in release.targets if each.reference == reference]
        places.setdefault(place.rpartition(":")[0], []).extend(names)
    pushed = {}
    for place, names in places.items():
        # A tag has no place for a version's build metadata; Helm writes it so, too.
        target = Reference.parse(f"{place}:{release.version.replace('+', '_')}")
        pushed[f"oci://{target}"] = push_release(
            release.source,
            listing,
            tuple(names),
            target,
            plain_http=plain_http,
            progress=progress,
            holders=holders,
        )
    return pushed
