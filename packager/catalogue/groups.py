"""Country codes, and the groups of countries that laws name together (`eea`, `eu-adequate`).

A group may say by which decision each of its countries belongs to it, since a list of adequate
countries is a list of decisions, each with a day and some with an end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packager.catalogue.files import API_VERSION
from packager.document import read_document
from packager.domain.hardware import Confidence
from packager.domain.transfer import AdequacyDecision
from packager.section import Section, nearest

COUNTRY = re.compile(r"[A-Z]{2}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Group:
    """A named set of ISO 3166 codes, with where it comes from."""

    name: str
    title: str
    countries: tuple[str, ...]
    source: str
    confidence: Confidence
    note: str | None
    decisions: tuple[AdequacyDecision, ...] = ()


def read_groups(files: Sequence[Path]) -> dict[str, Group]:
    """Name → group, from the built-in file and the user's. Raises InputError with all findings."""
    groups: dict[str, Group] = {}
    for file in files:
        root = read_document(file)
        for key, expected in (("apiVersion", API_VERSION), ("kind", "Groups")):
            if root.text(key) != expected and key in root:
                root.note(key, f"wrong {key}", expected=expected)
        root.optional_text("reviewed")
        section = root.section("groups", required=True)
        for name in section.keys():  # noqa: SIM118 - a Section is no dict
            if name in groups:
                section.note(name, f"the group {name!r} is built in already")
            groups.setdefault(name, _group(name, section.section(name)))
        root.finish()
    return groups


def countries(section: Section, key: str, groups: Mapping[str, Group]) -> tuple[str, ...]:
    """A list of ISO 3166 codes and names of groups, as sorted codes, each once."""
    found: set[str] = set()
    for word in section.texts(key):
        if word in groups:
            found.update(groups[word].countries)
        elif COUNTRY.fullmatch(word):
            found.add(word)
        else:
            section.note(
                key,
                f"{word!r} is neither a country code nor a group of countries",
                expected="an ISO 3166 code such as SA, or " + ", ".join(sorted(groups)),
                next_step=nearest(word, set(groups)),
            )
    return tuple(sorted(found))


def adequacy_of(
    section: Section, key: str, groups: Mapping[str, Group], within: Sequence[str]
) -> tuple[AdequacyDecision, ...]:
    """The decisions behind the countries of the groups that `key` names, by country."""
    found = {
        decision.country: decision
        for word in section.texts(key)
        if word in groups
        for decision in groups[word].decisions
        if decision.country in within
    }
    return tuple(found[country] for country in sorted(found))


def _decisions(section: Section, source: str) -> tuple[AdequacyDecision, ...]:
    listed = section.section("decisions")
    return tuple(
        _decision(country, listed.section(country), source)
        for country in listed.keys()  # noqa: SIM118 - a Section is no dict
    )


def _decision(country: str, entry: Section, source: str) -> AdequacyDecision:
    for key in ("date", "until"):
        if key in entry and not _DATE.fullmatch(entry.text(key)):
            entry.note(key, "no date", expected="such as 2026-11-23", got=entry.text(key))
    return AdequacyDecision(
        country=country,
        instrument=entry.text("instrument"),
        date=entry.text("date"),
        source=entry.text("source", source),
        confidence=entry.choice("confidence", Confidence),
        until=entry.optional_text("until"),
    )


def _group(name: str, section: Section) -> Group:
    codes = section.texts("countries", ...)
    for code in codes:
        if not COUNTRY.fullmatch(code):
            section.note("countries", f"{code!r} is no ISO 3166 code")
    source = section.text("source")
    decisions = _decisions(section, source)
    for decision in decisions:
        if decision.country not in codes:
            section.note("decisions", f"{decision.country} is no country of the group")
    return Group(
        name=name,
        title=section.text("name"),
        countries=tuple(sorted(set(codes))),
        source=source,
        confidence=section.choice("confidence", Confidence),
        note=section.optional_text("note"),
        decisions=decisions,
    )
