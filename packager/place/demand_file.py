"""Reads `demand.yaml`: who asks, for which class of data, how often, and how fast it must be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from packager.document import read_document
from packager.domain.placement import Demand, Point, Surge
from packager.domain.target import DataClass
from packager.place.geography import Geography, point_of
from packager.place.rates import read_rates
from packager.section import Section

API_VERSION = "packager/v1"
JurisdictionOf = Callable[[str], str | None]
_COUNTRY = re.compile(r"[A-Z]{2}")
_PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95}
_MAX_MS = 600_000.0
_NOWHERE = Point(0.0, 0.0)


def read_demand(
    file: Path, geography: Geography, jurisdiction_of: JurisdictionOf, known: frozenset[str]
) -> tuple[Demand, ...]:
    """Every demand of the file. Raises InputError with all findings, each with its line.

    `jurisdiction_of` gives the profile of a country, None where the catalogue has none; `known` are
    the ids of all profiles, of which a demand may name one.
    """
    root = read_document(file)
    for key, expected in (("apiVersion", API_VERSION), ("kind", "Demand")):
        if root.text(key) != expected and key in root:
            root.note(key, f"wrong {key}", expected=expected)
    defaults = root.section("defaults")
    entries = root.sections("demands", required=True)
    if "demands" in root and not entries:
        root.note("demands", "the list is empty", expected="at least one demand")
    common = _Common.of(defaults)
    demands: list[Demand] = []
    for entry in entries:
        demand = _demand(entry, common, file, geography, jurisdiction_of, known)
        if demand.name in [other.name for other in demands]:
            entry.note(
                "name",
                f"the demand {demand.name!r} is given twice",
                next_step="give one of them another name:, or add their requests",
            )
        demands.append(demand)
    root.finish()
    return tuple(demands)


class _Common:
    """What `defaults:` says for all demands that do not say it themselves."""

    def __init__(self, limit: tuple[float, float], surge: Surge, growth: float, sites: int) -> None:
        self.limit, self.surge, self.growth, self.sites = limit, surge, growth, sites

    @classmethod
    def of(cls, section: Section) -> _Common:
        return cls(
            _limit(section, (0.95, 200.0)),
            _surge(section, Surge()),
            _at_least(section, "growth", 1.0, 0.0),
            section.whole("sites_at_least", 1),
        )


def _demand(
    entry: Section,
    common: _Common,
    file: Path,
    geography: Geography,
    jurisdiction_of: JurisdictionOf,
    known: frozenset[str],
) -> Demand:
    country = entry.text("country")
    if "country" in entry and not _COUNTRY.fullmatch(country):
        entry.note(
            "country",
            "no ISO 3166 code",
            expected="such as SA",
            got=repr(country),
            next_step="write the two capital letters of the country",
        )
    jurisdiction = entry.optional_text("jurisdiction") or jurisdiction_of(country)
    if jurisdiction is None and _COUNTRY.fullmatch(country):
        entry.note(
            "country",
            f"the catalogue has no profile for {country}",
            expected="a country of a profile, or a profile of your own",
            next_step=f"packager targets new jurisdiction {country.lower()} --in DIR, then "
            "--targets DIR",
        )
    elif jurisdiction is not None and jurisdiction not in known:
        entry.note(
            "jurisdiction",
            f"unknown jurisdiction {jurisdiction!r}",
            next_step="see them all: packager targets list --jurisdictions",
        )
    data = entry.choice("data", DataClass, DataClass.PERSONAL)
    growth = _at_least(entry, "growth", common.growth, 0.0)
    percentile, limit = _limit(entry, common.limit)
    sites = entry.whole("sites_at_least", common.sites)
    if not 1 <= sites <= 5:
        entry.note(
            "sites_at_least",
            "out of range",
            expected="1 to 5",
            got=str(sites),
            next_step="2 is enough to lose one",
        )
    return Demand(
        name=entry.optional_text("name") or f"{country.lower()}-{data.value}",
        country=country,
        jurisdiction=jurisdiction or "",
        data=data,
        hourly=tuple(rate * growth for rate in read_rates(entry, file.parent)),
        percentile=percentile,
        limit_ms=limit,
        surge=_surge(entry, common.surge),
        sites_at_least=sites,
        at=_at(entry, country, geography),
        where=entry.where(),
    )


def _at(entry: Section, country: str, geography: Geography) -> Point:
    if "at" in entry:
        return point_of(entry, "at") or _NOWHERE
    known = geography.points.get(country)
    if known is None and _COUNTRY.fullmatch(country):
        entry.note(
            "country",
            f"where the people of {country} are is not known",
            expected="at: [latitude, longitude]",
            next_step="write at: with the degrees of their largest city",
        )
    return known or _NOWHERE


def _limit(section: Section, default: tuple[float, float]) -> tuple[float, float]:
    if "latency" not in section:
        return default
    if not section.is_mapping("latency"):
        section.keys()
        section.note(
            "latency",
            "a limit without its unit and percentile",
            expected="{p95_ms: …} or {p50_ms: …}",
            next_step="write latency: {p95_ms: …}",
        )
        return default
    latency = section.section("latency")
    given = [key for key in _PERCENTILES if key in latency]
    if len(given) != 1:
        latency.keys()
        latency.note(
            "",
            "one limit is needed",
            expected="{p95_ms: …} or {p50_ms: …}",
            got=", ".join(given) or "neither",
            next_step="name the one that users feel",
        )
        return default
    value = latency.number(given[0])
    if not 0 < value <= _MAX_MS:
        latency.note(
            given[0],
            "out of range",
            expected="more than 0 ms",
            got=f"{value:g}",
            next_step="name the milliseconds from the user to the model and back",
        )
    return _PERCENTILES[given[0]], value


def _surge(section: Section, default: Surge) -> Surge:
    if "surge" not in section:
        return default
    surge = section.section("surge")
    return Surge(
        factor=_at_least(surge, "factor", default.factor, 1.0),
        ramp_s=_at_least(surge, "ramp_s", default.ramp_s, 0.0),
        hours_a_month=_at_least(surge, "hours_a_month", default.hours_a_month, 0.0),
    )


def _at_least(section: Section, key: str, default: float, least: float) -> float:
    value = section.number(key, default)
    if key in section and not least <= value < 1e9:
        section.note(
            key,
            "out of range",
            expected=f"at least {least:g}",
            got=f"{value:g}",
            next_step=f"leave {key} out for {default:g}",
        )
        return default
    return value
