"""The catalogue itself: profiles by id, and the country of a region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from packager.catalogue.files import ProfileFiles, find_profiles
from packager.catalogue.groups import Group, read_groups
from packager.catalogue.hardware_file import read_hardware
from packager.catalogue.inheritance import resolve
from packager.catalogue.jurisdiction_file import JurisdictionFile, read_jurisdiction
from packager.catalogue.places import Place, distance_km, read_places
from packager.domain.hardware import HardwareProfile
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.target import Region
from packager.errors import InputError
from packager.resources import data_folder
from packager.section import nearest


def load_catalogue(extra: Path | None = None, built_in: Path | None = None) -> Catalogue:
    """The built-in profiles, and those of a user's own folder, which may extend them.

    Raises InputError when `extra` is no folder, or has a profile whose id is taken.
    """
    return Catalogue(find_profiles(built_in or data_folder("targets"), extra))


class Catalogue:
    """Profiles by id; each file is read once, when it is first asked for."""

    def __init__(self, files: ProfileFiles) -> None:
        self.files = files
        self._written: dict[str, JurisdictionFile] = {}
        self._jurisdictions: dict[str, Jurisdiction] = {}
        self._hardware: dict[str, HardwareProfile] = {}

    def jurisdiction_ids(self) -> tuple[str, ...]:
        return tuple(self.files.jurisdictions)

    def hardware_ids(self) -> tuple[str, ...]:
        return tuple(self.files.hardware)

    @cached_property
    def groups(self) -> Mapping[str, Group]:
        """The named groups of countries."""
        return read_groups(self.files.groups)

    @cached_property
    def places(self) -> Mapping[Region, Place]:
        """Every region that a provider's table lists, those known from memory included."""
        return read_places(self.files.providers)

    def jurisdiction(self, name: str) -> Jurisdiction:
        """The profile with everything that it inherits. Raises InputError when there is none."""
        if name not in self._jurisdictions:
            profile = self.written(name)
            self._jurisdictions[name] = resolve(
                profile, self.written, self._regions_in(profile.countries)
            )
        return self._jurisdictions[name]

    def written(self, name: str) -> JurisdictionFile:
        """The profile as its file has it, nothing inherited."""
        if name not in self._written:
            file = self._file(self.files.jurisdictions, name, "jurisdiction")
            self._written[name] = read_jurisdiction(file, self.groups)
        return self._written[name]

    def hardware(self, name: str) -> HardwareProfile:
        """The profile with everything that it inherits. Raises InputError when there is none."""
        if name not in self._hardware:
            self._hardware[name] = read_hardware(self._hardware_file(name), self._hardware_file)
        return self._hardware[name]

    def find(self, name: str) -> Jurisdiction | HardwareProfile:
        """The profile of either kind. Raises InputError when there is none."""
        if name in self.files.jurisdictions:
            return self.jurisdiction(name)
        if name in self.files.hardware:
            return self.hardware(name)
        raise _unknown(name, "profile", [*self.files.jurisdictions, *self.files.hardware])

    def country_of(self, region: Region) -> str | None:
        """The ISO 3166 code of a region's country, None when it is not known beyond memory."""
        place = self.places.get(region)
        return place.country if place and place.confirmed else None

    def home_of(self, region: Region) -> str | None:
        """The country of the seat of a region's provider, None when no table tells it."""
        place = self.places.get(region)
        return place.home if place else None

    def distance_km(self, one: Region, other: Region) -> float | None:
        """Great-circle distance, None when one of the two is not in a table."""
        here, there = self.places.get(one), self.places.get(other)
        return distance_km(here, there) if here and there else None

    def _hardware_file(self, name: str) -> Path:
        return self._file(self.files.hardware, name, "hardware profile")

    def _regions_in(self, countries: Iterable[str]) -> frozenset[Region]:
        wanted = set(countries)
        return frozenset(
            place.region
            for place in self.places.values()
            if place.confirmed and place.country in wanted
        )

    @staticmethod
    def _file(files: Mapping[str, Path], name: str, what: str) -> Path:
        if name not in files:
            raise _unknown(name, what, list(files))
        return files[name]


def _unknown(name: str, what: str, known: list[str]) -> InputError:
    return InputError(
        f"unknown {what} {name!r}",
        expected="one of: " + ", ".join(sorted(known)),
        got=repr(name),
        next_step=nearest(name, known) or "see them all: packager targets list",
    )
