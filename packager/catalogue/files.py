"""Which profile files there are: the built-in ones, and those of the user's own folder.

A file's name is its profile's id, so that finding a profile needs no reading of the others. A
user's file never takes the place of a built-in one: a profile that means less than its name says
would be a trap for whoever reads the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from packager.document import read_document
from packager.errors import Finding, InputError
from packager.section import Section

API_VERSION = "packager/v1"


class Kind(StrEnum):
    """The folders of a catalogue and the `kind:` of the files in them."""

    JURISDICTION = "Jurisdiction"
    HARDWARE = "Hardware"
    PROVIDER = "Provider"

    @property
    def folder(self) -> str:
        return _FOLDERS[self]


_FOLDERS = {
    Kind.JURISDICTION: "jurisdictions",
    Kind.HARDWARE: "hardware",
    Kind.PROVIDER: "regions",
}


@dataclass(frozen=True, slots=True)
class ProfileFiles:
    """Id → file, for each kind. A provider may have several files: the user's adds regions."""

    jurisdictions: Mapping[str, Path]
    hardware: Mapping[str, Path]
    providers: tuple[Path, ...]
    groups: tuple[Path, ...]


def find_profiles(built_in: Path, extra: Path | None) -> ProfileFiles:
    """List the files of both folders. Raises InputError for a folder that is none or a clash."""
    folders = [built_in]
    if extra is not None:
        if not extra.is_dir():
            raise InputError(
                "there is no such folder of profiles",
                where=str(extra),
                expected="a folder with jurisdictions/, hardware/ or regions/ in it",
                next_step="start one: packager targets new jurisdiction ID --in DIR",
            )
        folders.append(extra)
    return ProfileFiles(
        jurisdictions=_by_id(folders, Kind.JURISDICTION),
        hardware=_by_id(folders, Kind.HARDWARE),
        providers=tuple(file for folder in folders for file in _files(folder, Kind.PROVIDER)),
        groups=tuple(file for folder in folders if (file := folder / "groups.yaml").is_file()),
    )


def open_profile(file: Path, kind: Kind) -> Section:
    """The document in `file`, its head (`apiVersion`, `kind`, `id`) read and judged."""
    root = read_document(file)
    for key, expected in (("apiVersion", API_VERSION), ("kind", kind.value), ("id", file.stem)):
        got = root.text(key)
        if key in root and got != expected:
            root.note(key, f"wrong {key}", expected=expected, got=repr(got))
    return root


def _files(folder: Path, kind: Kind) -> list[Path]:
    return sorted((folder / kind.folder).glob("*.yaml"))


def _by_id(folders: list[Path], kind: Kind) -> dict[str, Path]:
    found: dict[str, Path] = {}
    clashes = []
    for folder in folders:
        for file in _files(folder, kind):
            if file.stem in found:
                clashes.append(
                    Finding(
                        f"the profile {file.stem!r} is built in already",
                        where=str(file),
                        next_step=f"give it another id and write `extends: [{file.stem}]`",
                    )
                )
            found.setdefault(file.stem, file)
    if clashes:
        raise InputError.of(clashes)
    return dict(sorted(found.items()))
