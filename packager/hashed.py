"""Which files this process has hashed, so that gigabytes are read once a run and not at each use.

A file counts as the one that was hashed while device, inode, size and time of change of its bytes
are the same. A hard link more or less, which is how a blob gets into a release, changes none of
them. Nothing of this outlives the process, and who verifies never asks here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from packager.digest import Digest

_Identity = tuple[int, int, int, int]
_known: dict[_Identity, Digest] = {}


def remember(path: Path, digest: Digest) -> None:
    """The bytes of `path` have that digest: they were just written, or read."""
    found = _identity(path)
    if found:
        _known[found] = digest


def known_digest(path: Path) -> Digest | None:
    """The digest of a plain file that this process has hashed and nobody has written to since."""
    found = _identity(path)
    return _known.get(found) if found else None


def digest_once(path: Path) -> Digest:
    """Digest of a plain file, read only when it is not known. Raises OSError."""
    known = known_digest(path)
    if known is None:
        # Looked at before it is read: what is written meanwhile gives another identity.
        before = _identity(path)
        known = Digest.of_file(path)
        if before and before == _identity(path):
            _known[before] = known
    return known


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
