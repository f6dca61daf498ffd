"""Scratch space, the cache, and publishing that is all or nothing.

A result is made in a hidden folder beside its destination, synced, and renamed into place as the
last act. Whatever stops the process before that leaves the destination as it was; the hidden folder
of a process that is gone is swept away by the next run.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packager.errors import NoSpaceError, OutputError

# What a killed run leaves behind begins like this.
SCRATCH_PREFIX = ".packager-"
_SYNCING = 16


def cache_folder() -> Path:
    """`$PACKAGER_CACHE`, else `$XDG_CACHE_HOME/packager`, else `~/.cache/packager`; made if new.

    Entries are named by the digest that they must have, and believed only after it was checked.
    """
    if named := os.environ.get("PACKAGER_CACHE"):
        folder = Path(named)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "packager"
    with telling_output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True, slots=True)
class Workspace:
    """`release` becomes the output; `work` is for what is not published."""

    release: Path
    work: Path


@contextmanager
def publishing(output: Path, *, private: bool = False) -> Iterator[Workspace]:
    """A workspace whose `release` becomes `output` when the block ends without an exception.

    With `private`, nobody but its owner may enter it. Raises OutputError when `output` exists
    already (before any work is done) or the disk says no.
    """
    refuse_existing(output)
    with telling_output_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        _sweep(output.parent)
        scratch = Path(
            tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{os.getpid()}-", dir=output.parent)
        )
    try:
        with telling_output_errors(output):
            workspace = Workspace(scratch / "release", scratch / "work")
            workspace.release.mkdir()
            workspace.work.mkdir()
            yield workspace
            _open_folders(workspace.release)
            if private:
                workspace.release.chmod(0o700)
            _sync_tree(workspace.release)
            refuse_existing(output)
            workspace.release.rename(output)
            _sync(output.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_existing(output: Path) -> None:
    """Raises OutputError when something stands at `output`; nothing is ever overwritten."""
    if output.exists() or output.is_symlink():
        raise OutputError(
            "the output exists already",
            where=str(output),
            expected="a path that does not exist yet",
            next_step="choose another one with -o, or move the old release away",
        )


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A scratch file that replaces `path` atomically when the block ends without an exception."""
    with telling_output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=SCRATCH_PREFIX, dir=path.parent)
        os.close(handle)
    scratch = Path(name)
    try:
        with telling_output_errors(path):
            yield scratch
            scratch.chmod(mode)
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a whole file or nothing."""
    with replacing(path, mode) as scratch:
        scratch.write_bytes(data)


def copy_atomically(source: Path, target: Path, mode: int = 0o644) -> None:
    """Copy a whole file or nothing; however large, it is never held in memory."""
    with replacing(target, mode) as scratch:
        shutil.copyfile(source, scratch)


def link_or_copy(source: Path, target: Path) -> None:
    """Give `target` the bytes of `source` without a second copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def telling_output_errors(path: Path) -> Iterator[None]:
    """Turns what the file system says while writing near `path` into an OutputError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _TOLD:
            raise
        what, next_step = _TOLD[error.errno]
        # Of two names, as a copy or a renaming has them, the second is where something was written.
        written = error.filename2 or error.filename or path
        kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise kind(what, where=str(written), got=str(error), next_step=next_step) from error


_TOLD = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another disk with -o"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another disk with -o"),
    errno.EACCES: ("no permission to write", "choose a folder of your own with -o"),
    errno.EPERM: ("no permission to write", "choose a folder of your own with -o"),
    errno.EROFS: ("the file system is read-only", "choose another place with -o"),
    errno.ENOTDIR: ("a part of the path is not a folder", "check the path"),
    errno.ENAMETOOLONG: ("the path is too long for the file system", "choose a shorter one"),
}


def _sweep(parent: Path) -> None:
    """Remove scratch folders of processes that are gone (killed before they could clean up)."""
    for leftover in parent.glob(f"{SCRATCH_PREFIX}*-*"):
        owner = leftover.name.removeprefix(SCRATCH_PREFIX).partition("-")[0]
        if owner.isdecimal() and not _alive(int(owner)):
            shutil.rmtree(leftover, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _open_folders(root: Path) -> None:
    """A release is the same whoever made it: no folder of it keeps the mode of a umask."""
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - walk's form; nothing in there is secret


def _sync_tree(root: Path) -> None:
    """Before the rename that publishes it, a release is on the disk, not only in memory."""
    tree = [
        (folder, [os.path.join(folder, name) for name in names])  # noqa: PTH118 - walk's form
        for folder, _, names in os.walk(root)
    ]
    # Side by side, since the file system commits once for all that wait: ten times as fast.
    with ThreadPoolExecutor(_SYNCING) as pool:
        list(pool.map(_sync, [file for _, files in tree for file in files]))
    for folder, _ in tree:
        _sync(folder)


def _sync(path: Path | str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
