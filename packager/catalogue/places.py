"""Where the regions of cloud providers lie.

A region's label does not name a country: `me-central-1` is in the Emirates with one provider and in
Saudi Arabia with another, and a local zone may stand abroad under its parent's label. So a region
is always provider and label, and a place that is known only from memory counts as unknown until a
user's own table confirms it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt
from pathlib import Path

from packager.catalogue.files import Kind, open_profile
from packager.catalogue.groups import COUNTRY
from packager.domain.hardware import Confidence
from packager.domain.target import Region
from packager.section import Section

EARTH_RADIUS_KM = 6371.0
SITE = "site"


@dataclass(frozen=True, slots=True)
class Place:
    """A region with its country (ISO 3166), city and coordinates in degrees.

    `home` is the country in which the provider has its seat, whose law reaches it everywhere.
    """

    region: Region
    country: str
    city: str
    latitude: float
    longitude: float
    confidence: Confidence
    note: str | None
    source: str
    where: str
    home: str | None = None

    @property
    def confirmed(self) -> bool:
        return self.confidence is not Confidence.MEMORY


def read_places(files: Sequence[Path]) -> dict[Region, Place]:
    """Region → place. A later file may confirm what an earlier one knows from memory only.

    Raises InputError with all findings of the first file that has any.
    """
    places: dict[Region, Place] = {}
    for file in files:
        root = open_profile(file, Kind.PROVIDER)
        if file.stem == SITE:
            root.note("id", "sites are declared in release.yaml", expected="sites: {NAME: COUNTRY}")
        root.text("name")
        root.text("reviewed")
        source = root.text("source")
        confidence = root.choice("confidence", Confidence)
        home = root.optional_text("home")
        if home is not None and not COUNTRY.fullmatch(home):
            root.note("home", "no ISO 3166 code", expected="such as SA", got=repr(home))
        regions = root.section("regions", required=True)
        for label in regions.keys():  # noqa: SIM118 - a Section is no dict
            entry = regions.section(label)
            place = _place(Region(file.stem, label), entry, source, confidence, home)
            known = places.get(place.region)
            if known and known.confirmed and known.country != place.country:
                entry.note(
                    "country",
                    f"{place.region} is known to lie elsewhere",
                    expected=known.country,
                    got=place.country,
                )
            places[place.region] = place
        root.finish()
    return places


def distance_km(one: Place, other: Place) -> float:
    """Great-circle distance of two places in kilometres."""
    return great_circle_km(one.latitude, one.longitude, other.latitude, other.longitude)


def great_circle_km(
    latitude: float, longitude: float, other_latitude: float, other_longitude: float
) -> float:
    """Great-circle distance in kilometres between two points in degrees (haversine)."""
    phi_1, phi_2 = radians(latitude), radians(other_latitude)
    d_phi, d_lambda = phi_2 - phi_1, radians(other_longitude - longitude)
    chord = sin(d_phi / 2) ** 2 + cos(phi_1) * cos(phi_2) * sin(d_lambda / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


def _place(
    region: Region, entry: Section, source: str, confidence: Confidence, home: str | None
) -> Place:
    country = entry.text("country")
    if "country" in entry and not COUNTRY.fullmatch(country):
        entry.note("country", "no ISO 3166 code", expected="such as SA", got=repr(country))
    return Place(
        region=region,
        country=country,
        city=entry.text("city"),
        latitude=_degrees(entry, "latitude", 90),
        longitude=_degrees(entry, "longitude", 180),
        confidence=entry.choice("confidence", Confidence, confidence),
        note=entry.optional_text("note"),
        source=source,
        where=entry.where(),
        home=home,
    )


def _degrees(entry: Section, key: str, limit: int) -> float:
    value = entry.number(key)
    if abs(value) > limit:
        entry.note(key, "out of range", expected=f"-{limit} to {limit} degrees", got=str(value))
    return value
