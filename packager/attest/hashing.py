"""Digests of many files at once, on all cores, largest first.

`hashlib` lets go of the interpreter while it works, so threads are enough; each reads in pieces, so
memory does not grow with the files. A file is opened without following a link and must be a plain
file when it is open, whatever it was when it was looked at.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import BufferedReader
from pathlib import Path

from packager.digest import Digest
from packager.progress import Progress


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading; raises OSError for a link, a device or a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"not a plain file: {path.name}")
    return os.fdopen(handle, "rb")


def digest_files(
    root: Path, sizes: Mapping[str, int], progress: Progress
) -> tuple[dict[str, Digest], dict[str, OSError]]:
    """Digests of the files in `sizes` (path → bytes), and what could not be read."""
    digests: dict[str, Digest] = {}
    failures: dict[str, OSError] = {}
    total, done = sum(sizes.values()), 0
    with ThreadPoolExecutor(workers(), thread_name_prefix="hash") as pool:
        running = {pool.submit(_digest, root / path): path for path in largest_first(sizes)}
        for future in as_completed(running):
            path = running[future]
            try:
                digests[path] = future.result()
            except OSError as error:
                failures[path] = error
            done += sizes[path]
            progress.advance(path, done, total)
    return digests, failures


def largest_first(sizes: Mapping[str, int]) -> Iterable[str]:
    """The order that keeps all threads busy to the end."""
    return sorted(sizes, key=lambda path: (-sizes[path], path))


def workers() -> int:
    """Threads for hashing: one a core, at most 16."""
    return min(16, os.cpu_count() or 1)


def _digest(path: Path) -> Digest:
    with open_plain(path) as stream:
        return Digest(hashlib.file_digest(stream, "sha256").hexdigest())
