"""Parts as they were carried: told apart before anything is read as a bundle.

Nothing is joined on the disk: the parts are one volume. They are checked against their signed index
first, because a bundle with a wrong part in the middle could only say that something is wrong, and
the operator must know which stick to fetch again.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packager.bundle.parts_document import (
    INDEX,
    RAW_SIGNATURE,
    SIGSTORE,
    Part,
    PartsDocument,
    digest_parts,
)
from packager.bundle.reading import BundleSource
from packager.bundle.volume import FileVolume
from packager.digest import Digest
from packager.errors import Finding, InputError, VerificationError
from packager.progress import Progress
from packager.release_source import FolderSource, read_bounded

MAX_SIGNATURE = 64 << 10
MAX_INDEX = 4 << 20
_PART_NAME = re.compile(r"(?P<bundle>.+)\.part\d{3,4}")
_FETCH = "bring this part again; the others need not be brought again"


@dataclass(frozen=True, slots=True)
class Parts:
    """The index of parts in a folder, with its signatures; believed by nobody yet."""

    folder: Path
    index: bytes
    sigstore: bytes
    raw_signature: bytes
    document: PartsDocument

    @classmethod
    def at(cls, path: Path) -> Parts:
        """`path` is the index, or a folder with exactly one. Raises InputError without one,
        VerificationError for one that is not as it should be."""
        folder, name = (path, _only_index(path)) if path.is_dir() else (path.parent, path.name)
        files = FolderSource(folder)
        stem = name.removesuffix(INDEX)
        index = read_bounded(files, name, MAX_INDEX)
        document = PartsDocument.parse(index, str(folder / name))
        if document.name != stem:
            raise VerificationError(
                "the index is that of another bundle than its name says",
                where=str(folder / name),
                expected=stem,
                got=document.name,
            )
        return cls(
            folder,
            index,
            read_bounded(files, f"{stem}{SIGSTORE}", MAX_SIGNATURE),
            read_bounded(files, f"{stem}{RAW_SIGNATURE}", MAX_SIGNATURE),
            document,
        )

    @property
    def location(self) -> str:
        return str(self.folder / f"{self.document.name}{INDEX}")

    @property
    def paths(self) -> list[Path]:
        return [self.folder / part.name for part in self.document.parts]

    def check(self, progress: Progress) -> None:
        """Compare every part with the index; raises VerificationError naming all that are missing,
        swapped, damaged or left over. Call it when the index's signature was checked."""
        progress.step(f"check {len(self.document.parts)} parts")
        findings = [*self._left_over()]
        whole: list[tuple[Part, Path]] = []
        for part, path in zip(self.document.parts, self.paths, strict=True):
            finding = self._size_finding(part, path)
            if finding:
                findings.append(finding)
            else:
                whole.append((part, path))
        digests = digest_parts([path for _, path in whole], progress)
        for (part, path), digest in zip(whole, digests, strict=True):
            if isinstance(digest, OSError):
                findings.append(
                    Finding(
                        "the part cannot be read to its end",
                        str(path),
                        got=digest.strerror or str(digest),
                        next_step=_FETCH,
                    )
                )
            elif digest != part.digest:
                findings.append(self._wrong(part, digest))
        if findings:
            raise VerificationError.of(findings)

    def source(self) -> BundleSource:
        """The bundle in the parts. Raises InputError when a part cannot be opened."""
        try:
            volume = FileVolume(self.paths)
        except OSError as error:
            raise InputError(
                "a part cannot be opened",
                where=str(error.filename or self.folder),
                got=error.strerror or str(error),
                next_step=_FETCH,
            ) from None
        return BundleSource(volume, self.location)

    def _size_finding(self, part: Part, path: Path) -> Finding | None:
        try:
            found = path.lstat()
        except OSError as error:
            number = self.document.parts.index(part) + 1
            return Finding(
                f"part {number} of {len(self.document.parts)} is missing",
                str(path),
                f"{part.size} bytes, {part.digest}",
                error.strerror,
                _FETCH,
            )
        if not stat.S_ISREG(found.st_mode):
            return Finding("the part is no plain file", str(path), next_step=_FETCH)
        if found.st_size != part.size:
            return Finding(
                "the part has another size",
                str(path),
                f"{part.size} bytes",
                f"{found.st_size} bytes",
                _FETCH,
            )
        return None

    def _wrong(self, part: Part, digest: Digest) -> Finding:
        path = str(self.folder / part.name)
        for other in self.document.parts:
            if other.digest == digest:
                return Finding(
                    f"it holds what {other.name} should hold: parts were swapped",
                    path,
                    str(part.digest),
                    str(digest),
                    "give the parts their own names again",
                )
        return Finding(
            "the part is damaged, or of another bundle",
            path,
            str(part.digest),
            str(digest),
            _FETCH,
        )

    def _left_over(self) -> list[Finding]:
        """Parts of this bundle's name that its index does not name: of an older, longer one."""
        known = {part.name for part in self.document.parts}
        names = sorted(path.name for path in self.folder.iterdir())
        return [
            Finding(
                "a part is left over from another bundle of this name",
                str(self.folder / name),
                f"{len(known)} parts",
                next_step="move it away",
            )
            for name in names
            if (found := _PART_NAME.fullmatch(name))
            and found["bundle"] == self.document.name
            and name not in known
        ]


def is_parts(path: Path) -> bool:
    """Whether a path is the index of parts, or a folder that holds one."""
    if path.is_dir():
        return bool(_indexes(path)) and not (path / "release.json").exists()
    return path.name.endswith(INDEX)


def _only_index(folder: Path) -> str:
    found = _indexes(folder)
    if len(found) != 1:
        raise InputError(
            "the folder holds the parts of several bundles",
            where=str(folder),
            got=", ".join(found),
            next_step=f"name the one: {folder / found[0]}",
        )
    return found[0]


def _indexes(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.glob(f"*{INDEX}"))
