"""What lies in a folder, looked at as if an enemy had filled it.

Only plain files in plain folders are of use in a release. Whatever could lead elsewhere or mean two
things is named as a finding: symlinks, devices, pipes, sockets, two names of one file, names that
differ only in case or Unicode form (one file on some systems), names that break a checksum list.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packager.attest.root import MAX_FILES, plain_path
from packager.errors import Finding

MAX_FOLDER_DEPTH = 32
MAX_FINDINGS = 1000
_KINDS = {
    stat.S_IFLNK: "a symlink",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


@dataclass(frozen=True, slots=True)
class Inventory:
    """Plain files with their sizes in bytes, folders, and what must not be there."""

    files: dict[str, int]
    folders: frozenset[str]
    findings: tuple[Finding, ...]

    @property
    def empty_folders(self) -> list[str]:
        """Folders without a file in them or below, sorted."""
        return unused_folders(self.folders, self.files)


def take_inventory(root: Path) -> Inventory:
    """Look at everything below `root`; follows no link, opens no file."""
    files: dict[str, int] = {}
    folders: set[str] = set()
    findings: list[Finding] = []
    inodes: dict[tuple[int, int], str] = {}
    folded: dict[str, str] = {}
    for path, entry in _walk(root):
        shown = path.encode(errors="backslashreplace").decode()
        if finding := _name_finding(path, shown, folded):
            findings.append(finding)
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            folders.add(path)
        elif stat.S_ISREG(found.st_mode):
            files[path] = found.st_size
            twin = inodes.setdefault((found.st_dev, found.st_ino), shown)
            if twin != shown:
                findings.append(Finding(f"it is the same file as {twin} (a hard link)", shown))
        else:
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no plain file")
            findings.append(Finding(f"it is {kind}", shown, "plain files and folders only"))
        if len(findings) >= MAX_FINDINGS or len(files) > MAX_FILES + MAX_FINDINGS:
            findings.append(Finding("there is more than can be listed", str(root)))
            break
    return Inventory(files, frozenset(folders), tuple(findings))


def unused_folders(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    """The folders that none of `files` lies in, sorted."""
    used = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents}
    return sorted(set(folders) - used)


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `root`, folders before what is in them, in bytewise order."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(root / prefix) as entries:
            ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in ordered:
            path = f"{prefix}{entry.name}"
            yield path, entry
            if entry.is_dir(follow_symlinks=False) and path.count("/") < MAX_FOLDER_DEPTH:
                waiting.append(f"{path}/")


def _name_finding(path: str, shown: str, folded: dict[str, str]) -> Finding | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return Finding("its name is not UTF-8", shown)
    if not plain_path(path) or path.count("/") >= MAX_FOLDER_DEPTH:
        return Finding(
            "its name cannot stand in a release",
            repr(path),
            "printable characters without backslash, at most 1024 bytes and 32 folders deep",
        )
    twin = folded.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
    if twin != path:
        return Finding(f"its name differs from {twin} only in case or Unicode form", shown)
    return None
