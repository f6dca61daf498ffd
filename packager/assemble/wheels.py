"""Which wheels an image gets: pip resolves, and its answer is checked against the target.

pip evaluates environment markers (`; platform_machine == "aarch64"`) for the machine that it runs
on. So after pip has answered, the requirements are walked again with the markers of the target:
what only this machine needs goes, what only the target needs is asked for, and pip runs again.
"""

from __future__ import annotations

import email.parser
import email.policy
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from packager.assemble.pip_download import download_wheels
from packager.assemble.recipe import DROPPED_WHEELS, PYTHON, WHEEL_MACHINE
from packager.assemble.wheel_archive import info_folder
from packager.digest import Digest
from packager.domain.lock import LockedWheel
from packager.errors import LockError

_METADATA_LIMIT = 4 << 20
_ROUNDS = 4
_LICENSE_CLASSIFIER = "License :: OSI Approved :: "


@dataclass(frozen=True, slots=True)
class FoundWheel:
    """A wheel on disk with what its METADATA says."""

    path: Path
    name: str
    version: str
    license: str | None
    requires: tuple[Requirement, ...]

    def locked(self) -> LockedWheel:
        return LockedWheel(
            name=self.name,
            version=self.version,
            filename=self.path.name,
            digest=Digest.of_file(self.path),
            size=self.path.stat().st_size,
            license=self.license,
        )


def resolve_wheels(
    asked: Iterable[str],
    architecture: str,
    folder: Path,
    own: Mapping[str, Path] | None = None,
) -> tuple[FoundWheel, ...]:
    """The wheels that meet `asked` on Debian 13 of that architecture, by name, in `folder`.

    `own` are wheels by name that are taken instead of the index's.

    Raises LockError when nothing fits, UnavailableError when the index does not answer.
    """
    wanted = set(asked)
    for turn in range(_ROUNDS):
        place = folder / str(turn)
        place.mkdir()
        named = [_source(text, own or {}) for text in sorted(wanted)]
        download_wheels(named, architecture, place, dependencies=True)
        found = {wheel.name: wheel for wheel in map(read_metadata, sorted(place.glob("*.whl")))}
        needed, missing = walk(wanted, found, architecture)
        if not missing:
            return tuple(found[name] for name in sorted(needed))
        wanted |= missing
    raise LockError(
        "pip's answer does not settle for the target",
        where=architecture,
        got=", ".join(sorted(missing))[:300],
        next_step="pin the named packages in the hardware profile's wheel",
    )


def _source(requirement: str, own: Mapping[str, Path]) -> str:
    """The requirement as pip is asked: the user's own file where there is one."""
    path = own.get(canonicalize_name(Requirement(requirement).name))
    return str(path.resolve()) if path else requirement


def walk(
    asked: Iterable[str], found: Mapping[str, FoundWheel], architecture: str
) -> tuple[set[str], set[str]]:
    """The names that are needed on the target, and the requirements that `found` does not meet."""
    environment = _environment(architecture)
    needed: set[str] = set()
    missing: set[str] = set()
    queue = [Requirement(text) for text in sorted(asked)]
    by_name = {canonicalize_name(requirement.name) for requirement in queue}
    seen: set[str] = set()
    for requirement in queue:
        name = canonicalize_name(requirement.name)
        requirement.marker = None
        if (name in DROPPED_WHEELS and name not in by_name) or str(requirement) in seen:
            continue
        seen.add(str(requirement))
        wheel = found.get(name)
        if wheel is None or not requirement.specifier.contains(wheel.version, prereleases=True):
            missing.add(str(requirement))
            continue
        needed.add(name)
        for extra in ("", *sorted(requirement.extras)):
            here = {**environment, "extra": extra}
            queue += [
                Requirement(str(asks))
                for asks in wheel.requires
                if asks.marker is None or asks.marker.evaluate(here)
            ]
    return needed, missing


def _environment(architecture: str) -> dict[str, str]:
    """PEP 508, "Environment Markers", for Debian 13's Python."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{PYTHON}.0",
        "os_name": "posix",
        "platform_machine": WHEEL_MACHINE[architecture],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": "linux",
    }


def read_metadata(path: Path) -> FoundWheel:
    """What the wheel at `path` says about itself; raises LockError when it says nothing clear."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{info_folder(archive)}/METADATA")
            if member.file_size > _METADATA_LIMIT:
                raise ValueError("METADATA is too large")
            text = archive.read(member).decode("utf-8", "replace")
        fields = email.parser.Parser(policy=email.policy.compat32).parsestr(text, headersonly=True)
        return FoundWheel(
            path=path,
            name=canonicalize_name(fields["Name"] or "", validate=True),
            version=str(fields["Version"]),
            license=_license(fields),
            requires=tuple(Requirement(line) for line in fields.get_all("Requires-Dist") or ()),
        )
    except (zipfile.BadZipFile, KeyError, ValueError, InvalidRequirement) as error:
        raise LockError(
            "a wheel's metadata cannot be read", where=path.name, got=str(error)[:200]
        ) from error


def _license(fields: Message) -> str | None:
    """The SPDX expression; else a one-line licence field; else the classifier."""
    if expression := fields.get("License-Expression"):
        return str(expression)[:100]
    named = str(fields.get("License") or "").strip()
    if named and "\n" not in named and len(named) <= 60:
        return named
    for classifier in fields.get_all("Classifier") or ():
        if str(classifier).startswith(_LICENSE_CLASSIFIER):
            return str(classifier).removeprefix(_LICENSE_CLASSIFIER)
    return None
