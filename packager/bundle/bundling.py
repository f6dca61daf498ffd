"""From a release whose signature was checked to a bundle of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packager.bundle.composing import ROOT, compose, movable
from packager.bundle.document import BundleDocument
from packager.bundle.members import Composition
from packager.bundle.narrowing import narrowed_to
from packager.bundle.writing import Split, write_bundle, write_parts
from packager.carrying import MAX_ROOT, Listing
from packager.digest import Digest
from packager.errors import InputError
from packager.progress import Progress
from packager.release_source import DeclaringSource, Files, ReleaseSource, read_bounded
from packager.workspace import refuse_existing


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle that was written; `size` in bytes, `release` the digest of its release.json."""

    path: Path
    size: int
    release: Digest
    targets: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "path": str(self.path),
            "size": self.size,
            "release": str(self.release),
            "targets": list(self.targets),
        }


def bundle_release(
    source: ReleaseSource,
    seal: Mapping[str, bytes],
    targets: Sequence[str],
    output: Path,
    progress: Progress,
    split: Split | None = None,
    old: ReleaseSource | None = None,
) -> Bundled:
    """Write a bundle of `targets` (none: all). `seal` is what release.json does not name, checked.

    With `split` it becomes a folder of parts, with `old` a delta that stands on that release.

    Raises InputError for a target that the release does not have, VerificationError for a file that
    is not as signed, OutputError for the disk.
    """
    refuse_existing(output)
    listing = Listing.parse(seal[ROOT])
    document = BundleDocument.of(listing, _chosen(listing, targets, source))

    def composed(document: BundleDocument) -> Composition:
        return compose(
            listing, document, seal, lambda _, path: read_bounded(source, path, MAX_ROOT)
        )

    composition = composed(document)
    files: Files = source
    if old:
        # Only here, since it brings numpy, and whole bundles are far more frequent.
        from packager.bundle.differing import WithDelta, difference

        old = narrowed_to(old, document.targets)
        found = difference(listing, source, old, movable(composition), progress)
        composition = composed(replace(document, delta=found.delta))
        files = WithDelta(source, found)
    if split:
        write_parts(composition, files, output, split, progress)
    else:
        write_bundle(composition, files, output, progress)
    return Bundled(output, composition.size, listing.digest, document.targets)


def _chosen(listing: Listing, targets: Sequence[str], source: ReleaseSource) -> tuple[str, ...]:
    """The targets asked for, or all that the source carries."""
    there = source.targets if isinstance(source, DeclaringSource) else tuple(listing.images)
    unknown = sorted(set(targets) - set(there))
    if unknown:
        raise InputError(
            f"there is no target {', '.join(unknown)} in {source.location}",
            where="--target",
            expected=", ".join(sorted(there)),
        )
    return tuple(sorted(set(targets) or there))
