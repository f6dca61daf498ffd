"""Many blobs and manifests on their way into a repository, several at a time.

A registry syncs what it takes to its disk before it answers, so that a push of many small files is
mostly waiting: requests wait side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from packager.digest import Digest
from packager.domain.artifact import Artifact, Openable
from packager.oci.holders import Holders
from packager.oci.reference import Reference
from packager.oci.registry_client import Repository, Sent
from packager.progress import Progress

_AT_ONCE = 8  # as many connections as requests keeps open to a host, less two
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Upload:
    """A blob that a repository is to have; size in bytes."""

    digest: Digest
    size: int
    blob: Openable | bytes


def uploads_of(artifacts: Iterable[Artifact]) -> list[Upload]:
    """The blobs that the artifacts' manifests name."""
    return [
        Upload(digest, len(data), data) for artifact in artifacts for digest, data in artifact.blobs
    ]


class Meter:
    """Tells the user how many of `total` bytes are done. Safe for threads."""

    def __init__(self, title: str, total: int, progress: Progress) -> None:
        self._title, self._total, self._progress = title, total, progress
        self._done = 0
        self._telling = threading.Lock()

    def __call__(self, size: int) -> None:
        with self._telling:
            self._done += size
            shown = max(0, min(self._done, self._total))
            self._progress.advance(self._title, shown, self._total)


def upload(
    repository: Repository,
    target: Reference,
    uploads: Iterable[Upload],
    holders: Holders,
    sent: Sent,
) -> None:
    """Bring every blob into the repository of `target`, each once, the largest first; `sent` is
    told what went up or was there. Raises UnavailableError."""

    def bring(one: Upload) -> None:
        if holders.has(target, one.digest):
            sent(one.size)
            return
        elsewhere = holders.elsewhere(target, one.digest)
        repository.push_blob(one.digest, one.size, one.blob, sent, mount_from=elsewhere)
        holders.add(target, one.digest)

    once = {one.digest: one for one in uploads}
    ordered = sorted(once.values(), key=lambda one: (-one.size, one.digest))
    side_by_side([lambda one=one: bring(one) for one in ordered])  # type: ignore[misc]


def side_by_side(jobs: Iterable[Callable[[], _Result]]) -> list[_Result]:
    """Do them, several at a time, their results in order. After a failure none is begun."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            return [job.result() for job in running]
        finally:
            for job in running:
                job.cancel()
