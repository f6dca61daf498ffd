"""The locked files that an image is made of, and the packages among them opened.

Unpacking xz is most of the time that a first build takes, so each package is unpacked once for all
who look into it, and several at a time: `lzma` lets go of the interpreter while it works. What was
unpacked stays in memory as long as the image is being made (about 50 MB); wheels are read in place.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packager.assemble.debian_archive import DebianArchive, read_debian_archive
from packager.digest import Digest
from packager.domain.lock import LockedPackage, LockedWheel


class Inputs:
    """`files` gives the checked file of every locked digest. Safe for threads."""

    def __init__(self, files: Mapping[Digest, Path]) -> None:
        self._files = files
        self._archives: dict[Digest, DebianArchive] = {}
        self._opening = threading.Lock()

    def wheel(self, wheel: LockedWheel) -> Path:
        """Where the wheel's file is."""
        return self._files[wheel.digest]

    def archives(self, packages: Sequence[LockedPackage]) -> list[DebianArchive]:
        """The packages opened, in their order. Raises LockError for one that is malformed."""
        with self._opening:
            unopened = [one for one in packages if one.digest not in self._archives]
            largest_first = sorted(unopened, key=lambda one: (-one.size, one.name))
            with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="unpack") as pool:
                for one, archive in zip(
                    largest_first, pool.map(self._opened, largest_first), strict=True
                ):
                    self._archives[one.digest] = archive
        return [self._archives[one.digest] for one in packages]

    def _opened(self, package: LockedPackage) -> DebianArchive:
        return read_debian_archive(self._files[package.digest], package.filename)
