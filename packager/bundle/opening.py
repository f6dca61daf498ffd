"""Finds out what a path is: a release folder, a bundle, or the parts of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from packager.bundle.parts import Parts, is_parts
from packager.bundle.reading import BundleSource
from packager.progress import SILENT, Progress
from packager.release_source import FolderSource, ReleaseSource

CheckIndex = Callable[[Parts], None]


def open_source(
    path: Path, check_index: CheckIndex | None = None, progress: Progress = SILENT
) -> ReleaseSource:
    """The release at `path`, believed by nobody yet.

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
