"""Finds out what a path is: a release folder, a bundle, or the parts of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from packager.bundle.document import Delta
from packager.bundle.parts import Parts, is_parts
from packager.bundle.reading import BundleSource
from packager.bundle.rebuilding import RebuiltSource
from packager.errors import InputError, VerificationError
from packager.progress import SILENT, Progress
from packager.release_source import FolderSource, ReleaseSource

CheckIndex = Callable[[Parts], None]


def open_source(
    path: Path,
    check_index: CheckIndex | None = None,
    progress: Progress = SILENT,
    bases: Sequence[Path] = (),
) -> ReleaseSource:
    """The release at `path`, believed by nobody yet. A delta needs its `bases`, oldest first: the
    release that it stands on, or a chain of deltas on one.

    Raises VerificationError when a delta's base is missing, or is another release.
    """
    source = _open(path, check_index, progress)
    stands_on = source.document.delta if isinstance(source, BundleSource) else None
    if not bases and stands_on is None:
        return source
    if stands_on is None or not isinstance(source, BundleSource):
        raise VerificationError(
            "this release is whole: it stands on no other",
            where=str(path),
            next_step="use it without the older ones",
        )
    if not bases:
        raise VerificationError(
            "this is a delta: it holds only what is new",
            where=str(path),
            expected=f"beside it {stands_on.name} {stands_on.version}, {stands_on.base}",
            next_step="name the release that it stands on with --base, "
            "or make the whole one: packager delta apply OLD DELTA -o FILE",
        )
    base = open_source(bases[-1], check_index, progress, bases[:-1])
    return RebuiltSource(source, stands_on, base)


def stands_on(path: Path) -> Delta | None:
    """What a delta says that it stands on; None for what is whole. Believed by nobody.

    Of parts that are not all there it is None, too: which ones lack is told when they are checked.
    Raises InputError when there is nothing, VerificationError when it is no bundle.
    """
    try:
        source = _open(path, None, SILENT)
    except InputError:
        if is_parts(path):
            return None
        raise
    return source.document.delta if isinstance(source, BundleSource) else None


def _open(path: Path, check_index: CheckIndex | None, progress: Progress) -> ReleaseSource:
    """A folder, a bundle, whole or delta, or parts.

    Of parts, `check_index` checks the signature over their index, and then each part is compared
    with it; without it nothing is checked. Raises InputError when there is nothing,
    VerificationError when a file is no bundle or a part is not the one that the index names.
    """
    if is_parts(path):
        parts = Parts.at(path)
        if check_index:
            check_index(parts)
            parts.check(progress)
        return parts.source()
    if path.is_dir():
        return FolderSource.at(path)
    return BundleSource.at(path)
