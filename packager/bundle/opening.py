"""Finds out what a path is: a release folder, or a bundle."""

from __future__ import annotations

from pathlib import Path

from packager.bundle.reading import BundleSource
from packager.release_source import FolderSource, ReleaseSource


def open_source(path: Path) -> ReleaseSource:
    """The release at `path`, believed by nobody yet.

    Raises InputError when there is nothing, VerificationError when a file is no bundle.
    """
    if path.is_dir():
        return FolderSource.at(path)
    return BundleSource.at(path)
