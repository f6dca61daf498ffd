"""Where the people of a country are, and how clean its grid is (`targets/placement/`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packager.document import read_document
from packager.domain.placement import Point
from packager.section import Section


@dataclass(frozen=True, slots=True)
class Geography:
    """Points of countries and gCO2e a kWh of their grids, with what each table rests on."""

    points: Mapping[str, Point]
    carbon: Mapping[str, float]
    told: Mapping[str, str]


def read_geography(folder: Path) -> Geography:
    """Read `countries.yaml` and `carbon.yaml`. Raises InputError for a damaged file."""
    countries, told_points = _open(folder / "countries.yaml", "CountryPoints")
    points = countries.section("countries", required=True)
    found = {code: point_of(points, code) for code in points.keys()}  # noqa: SIM118
    countries.finish()
    grids, told_carbon = _open(folder / "carbon.yaml", "GridCarbon")
    grids.text("unit")
    values = grids.section("countries", required=True)
    carbon = {code: values.number(code) for code in values.keys()}  # noqa: SIM118
    grids.finish()
    return Geography(
        {code: point for code, point in found.items() if point is not None},
        carbon,
        {"points": told_points, "carbon": told_carbon},
    )


def point_of(section: Section, key: str) -> Point | None:
    """`[latitude, longitude]` in degrees at `key`; None, and a finding, for anything else."""
    written = section.texts(key)
    try:
        latitude, longitude = (float(text) for text in written)
    except ValueError:
        section.note(
            key,
            "no point",
            expected="[latitude, longitude] in degrees",
            got=str(written),
            next_step="write two numbers, such as [24.7, 46.7]",
        )
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        section.note(
            key,
            "out of range",
            expected="-90 to 90, -180 to 180",
            got=str(written),
            next_step="latitude comes first",
        )
        return None
    return Point(latitude, longitude)


def _open(file: Path, kind: str) -> tuple[Section, str]:
    root = read_document(file)
    root.text("apiVersion")
    if root.text("kind") != kind:
        root.note("kind", "wrong kind", expected=kind)
    root.text("id")
    source, confidence = root.text("source"), root.text("confidence")
    return root, f"{source}, confidence {confidence}, reviewed {root.text('reviewed')}"
