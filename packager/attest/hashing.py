"""Digests of many files at once, on all cores, largest first.

`hashlib` lets go of the interpreter while it works, so threads are enough; each reads in pieces, so
memory does not grow with the files, and never further than one byte past what is expected.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from packager.digest import Digest
from packager.progress import Progress
from packager.release_source import ReleaseSource

_BUFFER = 256 << 10


def digest_files(
    source: ReleaseSource, sizes: Mapping[str, int], progress: Progress
) -> tuple[dict[str, Digest], dict[str, OSError]]:
    """Digests of the files in `sizes` (path → bytes), and what could not be read."""
    digests: dict[str, Digest] = {}
    failures: dict[str, OSError] = {}
    total, done = sum(sizes.values()), 0
    with ThreadPoolExecutor(workers(), thread_name_prefix="hash") as pool:
        running = {
            pool.submit(_digest, source, path, sizes[path]): path for path in largest_first(sizes)
        }
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


def _digest(source: ReleaseSource, path: str, size: int) -> Digest:
    """Of the whole file; one that grew gives another digest, and is not followed to its end."""
    sha = hashlib.sha256()
    left = size + 1
    with source.open(path) as stream:
        fill = getattr(stream, "readinto", None)
        buffer = memoryview(bytearray(min(_BUFFER, left))) if fill else memoryview(b"")
        while left > 0:
            if fill:  # into the same memory again and again, which is half of the time
                piece = buffer[: fill(buffer[: min(len(buffer), left)])]
            else:
                piece = memoryview(stream.read(min(_BUFFER, left)))
            if not piece:
                break
            sha.update(piece)
            left -= len(piece)
    return Digest(sha.hexdigest())
