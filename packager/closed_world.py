"""What lies in a place, written down as if an enemy had filled it.

Only plain files in plain folders are of use in a release. Whatever could lead elsewhere or mean two
things is named as a finding: links and devices, two entries of one name, names that differ only in
case or Unicode form (one file on some systems), names that break a checksum list. The rules stand
here once, for folders on a disk and for archives that are read in place.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from packager.errors import Finding

MAX_FILES = 100_000
MAX_PATH = 1024
MAX_FOLDER_DEPTH = 32
MAX_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Inventory:
    """Plain files with their sizes in bytes, folders, and what must not be there.

    Paths are relative to the release, with `/`. A release is refused when there are findings.
    """

    files: dict[str, int]
    folders: frozenset[str]
    findings: tuple[Finding, ...]

    @property
    def empty_folders(self) -> list[str]:
        """Folders without a file in them or below, sorted."""
        return unused_folders(self.folders, self.files)


@dataclass
class Census:
    """Takes entries one by one, in any order, and makes an inventory of them.

    Whoever lists a place calls one of the three methods for each thing that it meets, and stops
    when `full`: a place with endless entries must not take endless memory.
    """

    place: str
    _files: dict[str, int] = field(default_factory=dict)
    _folders: set[str] = field(default_factory=set)
    _findings: list[Finding] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether there is more than a release can hold."""
        met = len(self._files) + len(self._folders)
        return len(self._findings) >= MAX_FINDINGS or met > MAX_FILES + MAX_FINDINGS

    def file(self, path: str, size: int) -> None:
        """A plain file of `size` bytes."""
        if self._named(path):
            self._files[path] = size

    def folder(self, path: str) -> None:
        """A folder; an archive that says it twice says nothing new."""
        if path not in self._folders and self._named(path):
            self._folders.add(path)

    def refuse(self, path: str, what: str, expected: str = "plain files and folders only") -> None:
        """Something that has no place in a release; `what` as in "it is a symlink"."""
        self._findings.append(Finding(what, shown(path), expected))

    def inventory(self) -> Inventory:
        """What was met so far."""
        findings = list(self._findings)
        if self.full:
            findings.append(Finding("there is more than can be listed", self.place))
        return Inventory(dict(self._files), frozenset(self._folders), tuple(findings))

    def _named(self, path: str) -> bool:
        """Whether the entry can be kept under its name; a finding tells what is wrong with it."""
        try:
            path.encode()
        except UnicodeEncodeError:
            self._findings.append(Finding("its name is not UTF-8", shown(path)))
            return True
        if not plain_path(path) or path.count("/") >= MAX_FOLDER_DEPTH:
            self._findings.append(
                Finding(
                    "its name cannot stand in a release",
                    repr(path[: 2 * MAX_PATH]),
                    "relative, printable characters without backslash, no . or .., at most 1024 "
                    "bytes and 32 folders deep",
                )
            )
            return True
        twin = self._names.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if twin != path:
            self._findings.append(
                Finding(f"its name differs from {twin} only in case or Unicode form", path)
            )
        elif path in self._files or path in self._folders:
            self._findings.append(Finding("two entries have this name", path))
            return False
        return True


def plain_path(path: str) -> bool:
    """Relative, with `/`, no `.` or `..`, no backslash or control character, not too long."""
    return (
        0 < len(path.encode()) <= MAX_PATH
        and all(part not in ("", ".", "..") for part in path.split("/"))
        and "\\" not in path
        and path.isprintable()
    )


def shown(path: str) -> str:
    """A name that may not be UTF-8, for a message."""
    return path.encode(errors="backslashreplace").decode()


def unused_folders(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    """The folders that none of `files` lies in, sorted."""
    used = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents}
    return sorted(set(folders) - used)
