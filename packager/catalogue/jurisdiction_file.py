"""Reads one file of `targets/jurisdictions/`, as written: nothing inherited yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packager.catalogue.files import Kind, open_profile
from packager.catalogue.groups import Group, adequacy_of, countries
from packager.catalogue.mechanisms import read_mechanism
from packager.domain.hardware import Confidence
from packager.domain.jurisdiction import (
    CryptographyStandard,
    Demand,
    Law,
    Marking,
    RecordKind,
    Rule,
)
from packager.domain.target import DataClass
from packager.domain.transfer import Mechanism
from packager.section import Section

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOST = re.compile(r"(\*\.)?[a-z0-9.-]+\.[a-z0-9-]+(:[0-9]+)?")
PLACED = frozenset(
    {
        Demand.INFERENCE_WITHIN,
        Demand.REGISTRY_WITHIN,
        Demand.DATA_AT_REST_WITHIN,
        Demand.LOGS_WITHIN,
        Demand.KEYS_WITHIN,
        Demand.TRANSFER,
        Demand.MODEL_ORIGIN_WITHIN,
        Demand.BASE_ORIGIN_WITHIN,
    }
)


@dataclass(frozen=True, slots=True)
class JurisdictionFile:
    """A profile before inheritance. `replaces` maps a rule id of a parent to our rule's id."""

    id: str
    name: str
    file: Path
    extends: tuple[str, ...]
    countries: tuple[str, ...]
    registries: tuple[str, ...]
    rules: tuple[Rule, ...]
    mechanisms: tuple[Mechanism, ...]
    replaces: Mapping[str, str]
    lines: Mapping[str, str]
    uncertain: tuple[str, ...]
    confidence: Confidence
    reviewed: str


def read_jurisdiction(file: Path, groups: Mapping[str, Group]) -> JurisdictionFile:
    """Read and validate a profile. Raises InputError with all findings, each with its line."""
    root = open_profile(file, Kind.JURISDICTION)
    reviewed = date(root, "reviewed")
    entries = root.sections("rules", required=not root.texts("extends"))
    rules = tuple(_rule(entry, groups, reviewed) for entry in entries)
    paths = root.sections("mechanisms")
    mechanisms = tuple(_mechanism(entry, groups, reviewed) for entry in paths)
    replaces: dict[str, str] = {}
    seen: set[str] = set()
    for entry, rule in zip(entries, rules, strict=True):
        if rule.id in seen:
            entry.note("id", f"the rule {rule.id!r} is given twice")
        seen.add(rule.id)
        if replaced := entry.optional_text("replaces"):
            replaces[replaced] = rule.id
    for entry, mechanism in zip(paths, mechanisms, strict=True):
        if mechanism.id in seen:
            entry.note("id", f"{mechanism.id!r} is the id of a rule or of a mechanism already")
        seen.add(mechanism.id)
    registries = root.texts("registries")
    for pattern in registries:
        if not _HOST.fullmatch(pattern):
            root.note("registries", "no host name", expected="such as *.example.sa", got=pattern)
    inside = countries(root, "countries", groups)
    if not inside:
        root.note("countries", "no country", expected="at least one ISO 3166 code")
    read = JurisdictionFile(
        id=root.text("id"),
        name=root.text("name"),
        file=file,
        extends=tuple(sorted(set(root.texts("extends")))),
        countries=inside,
        registries=registries,
        rules=rules,
        mechanisms=mechanisms,
        replaces=replaces,
        lines={
            **{rule.id: entry.where() for entry, rule in zip(entries, rules, strict=True)},
            **{path.id: entry.where() for entry, path in zip(paths, mechanisms, strict=True)},
        },
        uncertain=root.texts("uncertain"),
        confidence=root.choice("confidence", Confidence),
        reviewed=reviewed,
    )
    root.finish()
    return read


def date(section: Section, key: str, default: str | None = None) -> str:
    """A day as `2026-11-23`."""
    text = section.text(key) if default is None else section.text(key, default)
    if key in section and not _DATE.fullmatch(text):
        section.note(key, "no date", expected="year-month-day, such as 2026-11-23", got=repr(text))
    return text


def _id(entry: Section) -> str:
    name = entry.text("id")
    if "id" in entry and not _ID.fullmatch(name):
        entry.note("id", "no id", expected="lower-case words with dashes", got=repr(name))
    return name


def _mechanism(entry: Section, groups: Mapping[str, Group], reviewed: str) -> Mechanism:
    law = _law(entry.section("law", required=True), reviewed)
    return read_mechanism(entry, groups, _id(entry), law, _optional_date)


def _optional_date(section: Section, key: str) -> str | None:
    return date(section, key, "") or None


def _rule(entry: Section, groups: Mapping[str, Group], reviewed: str) -> Rule:
    name = _id(entry)
    demand = entry.choice("demand", Demand)
    data = entry.choices("data", DataClass)
    if not data:
        entry.note(
            "data", "no class of data", expected=" | ".join(kind.value for kind in DataClass)
        )
    within = _within(entry, groups)
    if demand in PLACED and not within:
        entry.note("within", f"{demand.value} needs the countries that count as inside")
    if demand not in PLACED and within:
        entry.note("within", f"{demand.value} has nothing to do with countries")
    least, most = _days(entry, "min_days"), _days(entry, "max_days")
    if demand is Demand.LOG_RETENTION and least is None and most is None:
        entry.note("min_days", "a retention rule needs min_days or max_days")
    certifications = entry.texts("certifications")
    if demand is Demand.HOSTING_CERTIFICATION and not certifications:
        entry.note("certifications", "a certification rule names at least one")
    classes = entry.texts("classes")
    if (demand is Demand.ACCELERATOR_EXPORT) != bool(classes):
        entry.note(
            "classes", "export classes and a rule on them go together", expected="such as [3A090.a]"
        )
    standard = entry.choice("standard", CryptographyStandard) if "standard" in entry else None
    if standard is not None and demand is not Demand.CRYPTOGRAPHY:
        entry.note("standard", f"{demand.value} has nothing to do with cryptography")
    records = entry.choice("records", RecordKind, RecordKind.LOGS)
    if "records" in entry and demand is not Demand.LOG_RETENTION:
        entry.note("records", f"{demand.value} has nothing to do with records")
    marking = entry.choice("marking", Marking) if "marking" in entry else None
    if marking is not None and demand is not Demand.AI_DUTY:
        entry.note("marking", f"{demand.value} has nothing to do with marking")
    return Rule(
        id=name,
        demand=demand,
        data_classes=frozenset(data),
        text=entry.text("text"),
        law=_law(entry.section("law", required=True), reviewed),
        within=within,
        since=date(entry, "since", "") or None,
        min_days=least,
        max_days=most,
        certifications=certifications,
        note=entry.optional_text("note"),
        export_classes=classes,
        standard=standard,
        records=records,
        marking=marking,
        adequacy=adequacy_of(entry, "within", groups, within),
    )


def _within(entry: Section, groups: Mapping[str, Group]) -> tuple[str, ...]:
    """What `within` lists less what `except` takes out, for law that names the forbidden."""
    listed = countries(entry, "within", groups)
    excepted = countries(entry, "except", groups)
    if stray := sorted(set(excepted) - set(listed)):
        entry.note("except", "takes out what `within` does not list", got=", ".join(stray))
    return tuple(country for country in listed if country not in excepted)


def _law(section: Section, reviewed: str) -> Law:
    source = section.text("source")
    confidence = section.choice("confidence", Confidence)
    if (source == "memory") != (confidence is Confidence.MEMORY) and "confidence" in section:
        section.note(
            "confidence",
            "what is known from memory says so in both places",
            expected="source: memory and confidence: memory, or neither",
        )
    return Law(
        name=section.text("name"),
        article=section.text("article"),
        source=source,
        confidence=confidence,
        reviewed=date(section, "reviewed", reviewed),
    )


def _days(entry: Section, key: str) -> int | None:
    if key not in entry:
        entry.optional_number(key)
        return None
    days = entry.whole(key)
    if days <= 0:
        entry.note(key, "out of range", expected="one day or more", got=str(days))
    return days
