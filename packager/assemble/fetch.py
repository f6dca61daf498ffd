"""Fills the cache with what a lock names, and believes no byte whose digest was not checked.

A cached file is named by its digest and hashed anew at each use. With a complete cache neither a
network nor a mirror is needed. What is missing comes in parallel: packages from the Debian mirror,
wheels through pip.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from packager.assemble.mirror import Mirror, find_mirror
from packager.assemble.pip_download import download_wheels
from packager.assemble.transfer import Missing, download
from packager.digest import Digest
from packager.domain.lock import LockedEnvironment, LockedPackage, LockedWheel
from packager.errors import LockError, UnavailableError
from packager.progress import Progress
from packager.workspace import replacing

Entry = LockedPackage | LockedWheel

_WORKERS = 4
_UPGRADE = "run `packager lock --upgrade`, and look at what changes"


def fetch(
    environment: LockedEnvironment,
    cache: Path,
    *,
    mirror_option: str | None,
    progress: Progress,
    wheels: Path | None = None,
) -> Mapping[Digest, Path]:
    """Every file of `environment` by digest, in `cache`; the user's own wheels are in `wheels`.

    Raises UnavailableError when mirror or index do not deliver or have the file no longer,
    LockError when they deliver other bytes, InputError when something is missing in the cache and
    no mirror is known.
    """
    entries: list[Entry] = [*environment.packages, *environment.wheels]
    with ThreadPoolExecutor(_WORKERS) as pool:
        held = pool.map(partial(is_held, cache), entries)
        missing = [entry for entry, there in zip(entries, held, strict=True) if not there]
        if any(isinstance(entry, LockedPackage) for entry in missing):
            mirror = find_mirror(mirror_option)
        else:
            mirror = Mirror("")
        jobs = [pool.submit(_bring, entry, environment, cache, mirror, wheels) for entry in missing]
        try:
            for number, (entry, job) in enumerate(zip(missing, jobs, strict=True), start=1):
                job.result()
                progress.advance(f"fetched {entry.name} {entry.version}", number, len(missing))
        finally:
            for job in jobs:
                job.cancel()
    return {entry.digest: cached_path(cache, entry.digest) for entry in entries}


class Fetched(Mapping[Digest, Path]):
    """The files of an environment by digest, fetched when the first of them is asked for.

    An image whose layers are all known already needs none of them.
    """

    def __init__(
        self,
        environment: LockedEnvironment,
        cache: Path,
        *,
        mirror_option: str | None,
        wheels: Path | None = None,
        progress: Progress,
    ) -> None:
        self._bring = partial(
            fetch,
            environment,
            cache,
            mirror_option=mirror_option,
            wheels=wheels,
            progress=progress,
        )
        self._files: Mapping[Digest, Path] | None = None
        self._bringing = threading.Lock()

    def _all(self) -> Mapping[Digest, Path]:
        with self._bringing:  # layers are made side by side, and all ask
            if self._files is None:
                self._files = self._bring()
            return self._files

    def __getitem__(self, digest: Digest) -> Path:
        return self._all()[digest]

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def cached_path(cache: Path, digest: Digest) -> Path:
    """Where the file of that digest stands, if it is there."""
    return cache / "inputs" / "sha256" / digest.hex


def is_held(cache: Path, entry: Entry) -> bool:
    """Whether the cache has the file, whole and unchanged. A spoilt one is brought anew."""
    path = cached_path(cache, entry.digest)
    try:
        return path.stat().st_size == entry.size and Digest.of_file(path) == entry.digest
    except OSError:
        return False


def keep(cache: Path, source: Path, digest: Digest) -> Path:
    """Move a checked file into the cache."""
    path = cached_path(cache, digest)
    with replacing(path) as scratch:
        source.replace(scratch)
    return path


def _bring(
    entry: Entry,
    environment: LockedEnvironment,
    cache: Path,
    mirror: Mirror,
    wheels: Path | None,
) -> None:
    folder = cached_path(cache, entry.digest).parent
    folder.mkdir(parents=True, exist_ok=True)
    # Scratch space beside its destination, so that the last step is a rename.
    with tempfile.TemporaryDirectory(prefix=".packager-fetch-", dir=folder) as scratch:
        if isinstance(entry, LockedPackage):
            source = _bring_package(entry, Path(scratch), mirror)
        elif wheels and (wheels / entry.filename).is_file():
            source = Path(shutil.copyfile(wheels / entry.filename, Path(scratch, "own.whl")))
        else:
            source = _bring_wheel(entry, Path(scratch), environment.architecture)
        if (got := Digest.of_file(source)) != entry.digest:
            raise _other_bytes(entry, str(got))
        keep(cache, source, entry.digest)


def _bring_package(entry: LockedPackage, scratch: Path, mirror: Mirror) -> Path:
    path = scratch / "package.deb"
    try:
        with path.open("wb") as stream:
            size = download(mirror, entry.filename, stream, limit=entry.size)
    except Missing as error:
        raise UnavailableError(
            f"the mirror does not have {entry.name} {entry.version} (any longer)",
            where=f"{entry.filename} on {mirror}",
            next_step=_UPGRADE,
        ) from error
    if size != entry.size:
        raise _other_bytes(entry, f"{Digest.of_file(path)}, {size} bytes")
    return path


def _bring_wheel(entry: LockedWheel, scratch: Path, architecture: str) -> Path:
    pinned = f"{entry.name}=={entry.version} --hash=sha256:{entry.digest.hex}"
    download_wheels([pinned], architecture, scratch, dependencies=False)
    found = list(scratch.glob("*.whl"))
    if len(found) != 1:
        raise UnavailableError(
            f"pip brought {len(found)} files for {entry.name} {entry.version}",
            expected=entry.filename,
            next_step=_UPGRADE,
        )
    return found[0]


def _other_bytes(entry: Entry, got: str) -> LockError:
    return LockError(
        f"{entry.name} {entry.version} is not the file that was locked",
        where=entry.filename,
        expected=f"{entry.digest}, {entry.size} bytes",
        got=got,
        next_step="try another mirror or index; do not upgrade the lock before you know why",
    )
