"""Rates of requests as people have them: a figure with its unit, a day in hours, or a history.

A rate without a unit is refused: a tenth or a sixtieth of the truth looks like any other number.
"""

from __future__ import annotations

import csv
from datetime import datetime
from math import isfinite
from pathlib import Path

from packager.section import Section

UNITS = {"per_second": 1.0, "per_minute": 60.0, "per_hour": 3600.0, "per_day": 86400.0}
KEYS = (*UNITS, "hourly_per_second", "csv")
_MAX_ROWS = 1_000_000
NOTHING = (0.0,)


def read_rates(demand: Section, folder: Path) -> tuple[float, ...]:
    """Requests a second, one figure or one for each hour of the day, from `requests:`.

    Notes a finding, and returns a placeholder, for anything that is no rate.
    """
    if "requests" in demand and not demand.is_mapping("requests"):
        demand.keys()
        demand.note(
            "requests",
            "a rate without its unit",
            expected=" | ".join(f"{{{unit}: …}}" for unit in UNITS),
            next_step="write requests: {per_second: …}",
        )
        return NOTHING
    section = demand.section("requests", required=True)
    given = [key for key in KEYS if key in section]
    if "requests" in demand and len(given) != 1:
        section.keys()
        section.note(
            "",
            "the rate must be given in one way",
            expected=" | ".join(KEYS),
            got=", ".join(given) or "nothing",
            next_step="keep one of them",
        )
        return NOTHING
    if not given:
        return NOTHING
    match given[0]:
        case "csv":
            return _history(section, folder / section.text("csv"))
        case "hourly_per_second":
            return _hourly(section)
        case unit:
            value = section.number(unit)
            return (_positive(section, unit, value / UNITS[unit]),)


def _positive(section: Section, key: str, value: float) -> float:
    if not (isfinite(value) and value > 0):
        section.note(
            key,
            "out of range",
            expected="more than 0",
            got=f"{value:g}",
            next_step="leave out a demand that asks for nothing",
        )
        return 1.0
    return value


def _hourly(section: Section) -> tuple[float, ...]:
    written = section.texts("hourly_per_second")
    try:
        values = tuple(float(text) for text in written)
    except ValueError:
        values = ()
    if len(values) != 24 or not all(isfinite(v) and v >= 0 for v in values) or not any(values):
        section.note(
            "hourly_per_second",
            "no day",
            expected="24 rates of at least 0, one for each hour, not all of them 0",
            got=f"{len(written)} entries",
            next_step="write one rate for each hour, midnight first",
        )
        return NOTHING
    return values


def _history(section: Section, file: Path) -> tuple[float, ...]:
    """The busiest day in a history: columns `time` (ISO 8601) and `requests` (count an hour)."""

    def wrong(got: str) -> tuple[float, ...]:
        section.note(
            "csv",
            "the history cannot be used",
            expected=f"{file} with the columns time (ISO 8601) and requests (counted in that hour)",
            got=got,
            next_step="correct the file, or write the rate: requests: {per_hour: …}",
        )
        return NOTHING

    days: dict[str, dict[int, float]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                if number > _MAX_ROWS:
                    return wrong(f"more than {_MAX_ROWS} lines")
                try:
                    at = datetime.fromisoformat(row["time"])
                    count = float(row["requests"])
                except (KeyError, TypeError, ValueError):
                    return wrong(f"line {number}")
                if not (isfinite(count) and count >= 0):
                    return wrong(f"line {number}: {count:g} requests")
                hours = days.setdefault(at.date().isoformat(), {})
                hours[at.hour] = hours.get(at.hour, 0.0) + count
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return wrong(str(error))
    # Of days that are equally busy the earliest counts, so that the order of lines does not.
    busiest = max(sorted(days), key=lambda day: max(days[day].values()), default=None)
    if busiest is None or not any(days[busiest].values()):
        return wrong("no requests at all")
    return tuple(days[busiest].get(hour, 0.0) / 3600 for hour in range(24))
