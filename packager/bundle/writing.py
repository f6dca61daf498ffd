"""Writes a bundle, or goes on where an earlier run was stopped; constant memory, no second copy.

Each file is compared with the signed listing while it is copied, so a bundle is never made of bytes
that the release does not name. What an earlier run left is hashed before it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from packager.bundle.copying import Copier, SourceUnreadable
from packager.bundle.members import ALIGNMENT, END, Composition, Member
from packager.bundle.parts_document import (
    CHECKSUMS,
    INDEX,
    MAX_PARTS,
    RAW_SIGNATURE,
    SIGSTORE,
    PartsDocument,
    part_name,
)
from packager.bundle.target import Target, folder_of_parts, one_file
from packager.canonical import dumps
from packager.digest import Digest
from packager.errors import InputError, VerificationError
from packager.progress import Progress
from packager.release_source import Files
from packager.workspace import SCRATCH_PREFIX, write_atomically


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of at most `size` bytes, in whole blocks; `sign` gives the sigstore bundle and the
    raw signature over their index."""

    size: int
    sign: Callable[[bytes], tuple[bytes, bytes]]


def write_bundle(composition: Composition, source: Files, output: Path, progress: Progress) -> None:
    """Write the composition to `output`, reading the files of the release from `source`.

    Raises VerificationError when a file is not what the listing says, OutputError for the disk.
    """
    progress.step(f"write {output}")
    with one_file(output, _identity(composition)) as target:
        _write_to(target, composition, source, progress)


def write_parts(
    composition: Composition,
    source: Files,
    output: Path,
    split: Split,
    progress: Progress,
) -> None:
    """The same on parts in a new folder `output`, with their signed index.

    Raises InputError when there would be more parts than can be named.
    """
    size = split.size - split.size % ALIGNMENT
    if composition.size > size * MAX_PARTS:
        raise InputError(
            "the parts would be too many",
            where="--split",
            expected=f"at most {MAX_PARTS} parts, each of at least {ALIGNMENT} bytes",
            got=f"{composition.size} bytes in parts of {split.size}",
        )
    progress.step(f"write {output}")
    name = output.name
    identity = Digest.of(f"{_identity(composition)} {size}".encode())
    with folder_of_parts(output, identity, size, lambda number: part_name(name, number)) as (
        target,
        folder,
    ):
        # The folder is this run's alone by now; a small file that a killed one began is nobody's.
        for begun in folder.glob(f"{SCRATCH_PREFIX}*"):
            begun.unlink()
        paths = _write_to(target, composition, source, progress)
        progress.step(f"hash {len(paths)} parts")
        document = PartsDocument.of(name, composition.size, paths, progress)
        write_atomically(folder / f"{name}{CHECKSUMS}", document.checksums())
        sigstore, raw = split.sign(document.as_bytes())
        write_atomically(folder / f"{name}{SIGSTORE}", sigstore)
        write_atomically(folder / f"{name}{RAW_SIGNATURE}", raw)
        write_atomically(folder / f"{name}{INDEX}", document.as_bytes())


def _write_to(
    target: Target, composition: Composition, source: Files, progress: Progress
) -> list[Path]:
    writer = _Writer(composition, source, target, progress)
    try:
        writer.write()
    finally:
        writer.copier.close()
    return target.finish(composition.size)


@dataclass
class _Writer:
    composition: Composition
    source: Files
    target: Target
    progress: Progress
    done: int = 0
    copier: Copier = field(init=False)

    def __post_init__(self) -> None:
        self.copier = Copier(self.target)

    def write(self) -> None:
        kept = min(self.target.kept, self.composition.size)
        if kept:
            self.progress.note(f"an earlier run was stopped after {kept} bytes: going on from it")
        for member in self.composition.members:
            if not (kept >= member.end and self._stands(member)):
                self._write(member, max(0, min(kept, member.end) - member.start))
                kept = min(kept, member.position)
            self.done = member.end
        self.target.write_at(self.composition.size - len(END), END)

    def _stands(self, member: Member) -> bool:
        """Whether an earlier run wrote all of this member."""
        header = bytearray(len(member.header))
        self.target.read_into(member.position, memoryview(header))
        digest = self.copier.digest_written(member.start, member.size, self._moved)
        return header == member.header and digest == _expected(member)

    def _write(self, member: Member, kept: int) -> None:
        """The padding comes last: an earlier run's file ends where its data ended."""
        self.target.write_at(member.position, member.header)
        self._write_data(member, kept)
        self.target.write_at(member.start + member.size, bytes(member.padding))

    def _write_data(self, member: Member, kept: int) -> None:
        if member.data is not None:
            self.target.write_at(member.start, member.data)
            return
        path = member.path or member.name
        digest = self._copy(member, path, min(kept, member.size))
        if kept and digest != _expected(member):  # what the earlier run wrote was no good
            digest = self._copy(member, path, 0)
        if digest != _expected(member):
            raise VerificationError(
                "the file is not what the release names",
                where=f"{self.source.location}: {path}",
                expected=f"{_expected(member)}, {member.size} bytes",
                got=str(digest) if digest else "fewer bytes",
                next_step="get the release again, or build it anew; nothing was published",
            )

    def _copy(self, member: Member, path: str, kept: int) -> Digest | None:
        self.done = member.start
        try:
            stream = self.source.open(path)
        except OSError as error:
            raise self._unreadable(path, SourceUnreadable(error)) from None
        with stream:
            try:
                return self.copier.copy(stream, member.start, member.size, kept, self._moved)
            except SourceUnreadable as error:
                raise self._unreadable(path, error) from None

    def _unreadable(self, path: str, error: SourceUnreadable) -> VerificationError:
        return VerificationError(
            "the file cannot be read",
            where=f"{self.source.location}: {path}",
            got=str(error),
            next_step="is the medium whole? get the release again; nothing was published",
        )

    def _moved(self, count: int) -> None:
        self.done += count
        self.progress.advance("write", self.done, self.composition.size)


def _expected(member: Member) -> Digest | None:
    return Digest.of(member.data) if member.data is not None else member.digest


def _identity(composition: Composition) -> Digest:
    """Names what is being written, so that an earlier run is continued only by the same one."""
    return Digest.of(
        dumps(
            [[member.name, member.size, str(_expected(member))] for member in composition.members]
        )
    )
