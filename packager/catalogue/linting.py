"""`targets lint`: what is wrong with the profiles, all of it at once.

The schema, inheritance and references are judged by reading everything. On top of that: a source
for every rule, no permission that rests on memory, a name for every group, and reviews that are not
too old.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

from packager.catalogue.catalogue import Catalogue
from packager.catalogue.jurisdiction_file import JurisdictionFile
from packager.domain.hardware import Confidence, HardwareProfile
from packager.domain.jurisdiction import Demand, Rule
from packager.domain.law import Law
from packager.errors import Finding, InputError

STALE_AFTER_DAYS = 400
_UNCONFIRMED = (Confidence.MEMORY, Confidence.LOW)


def lint(catalogue: Catalogue, today: str) -> tuple[Finding, ...]:
    """Everything that is wrong, sorted; empty when there is nothing to mend.

    `today` as `2026-11-23` judges how old a review is. Raises InputError when it is no date.
    """
    now = _day(today)
    if now is None:
        raise InputError("no date", where="--today", expected="such as 2026-11-23", got=today)
    findings = [*_readable(lambda: catalogue.groups), *_readable(lambda: catalogue.places)]
    if not findings:
        findings += _decisions(catalogue, now)
        for name in catalogue.jurisdiction_ids():
            findings += _jurisdiction(catalogue, name, now)
    for name in catalogue.hardware_ids():
        findings += _hardware(catalogue, name)
    return tuple(sorted(set(findings), key=lambda finding: (finding.where or "", finding.what)))


def _jurisdiction(catalogue: Catalogue, name: str, now: datetime.date) -> list[Finding]:
    findings = _readable(lambda: catalogue.jurisdiction(name))
    if findings:
        return findings
    profile, inherited = catalogue.written(name), _inherited(catalogue, name)
    findings += _stale(profile.reviewed, str(profile.file), now)
    for rule in profile.rules:
        where = profile.lines[rule.id]
        findings += _stale(rule.law.reviewed, where, now)
        findings += _unsourced(rule.law, where)
        findings += _laundered(profile, inherited, rule, where)
    for mechanism in profile.mechanisms:
        where = profile.lines[mechanism.id]
        findings += _stale(mechanism.law.reviewed, where, now)
        findings += _unsourced(mechanism.law, where)
        findings += _ended(mechanism.until, where, now)
    return findings


def _decisions(catalogue: Catalogue, now: datetime.date) -> Iterator[Finding]:
    for group in catalogue.groups.values():
        for decision in group.decisions:
            where = f"{group.name}: {decision.country}"
            yield from _ended(decision.until, where, now)


def _ended(until: str | None, where: str, now: datetime.date) -> Iterator[Finding]:
    """A path whose end has come allows nothing any more, and nobody may find that out by chance."""
    day = _day(until) if until else None
    if day is not None and day < now:
        yield Finding(
            "the path has ended",
            where,
            got=f"until {until}",
            next_step="take it out, or look up what came after it",
        )


def _hardware(catalogue: Catalogue, name: str) -> list[Finding]:
    profiles: list[HardwareProfile] = []
    findings = _readable(lambda: profiles.append(catalogue.hardware(name)))
    where = str(catalogue.files.hardware[name])
    for profile in profiles:
        if not profile.sources:
            findings.append(
                Finding("no source", where, expected="sources: one line for each figure")
            )
        wanted = profile.platform.architecture
        if profile.node_labels.get("kubernetes.io/arch", wanted) != wanted:
            findings.append(
                Finding("the node label names another architecture", where, expected=wanted)
            )
    return findings


def _readable(read: Callable[[], object]) -> list[Finding]:
    try:
        read()
    except InputError as error:
        return list(error.findings)
    return []


def _unsourced(law: Law, where: str) -> Iterator[Finding]:
    source = law.source
    if not (source == "memory" or source.startswith(("https://", "http://", "docs/"))):
        yield Finding(
            "the source cannot be looked up", where, expected="an address, or `memory`", got=source
        )


def _inherited(catalogue: Catalogue, name: str) -> list[Rule]:
    """What the profile has from its parents and has not replaced."""
    resolved = catalogue.jurisdiction(name)
    return [rule for rule in resolved.rules if resolved.owner[rule.id] != name]


def _laundered(
    profile: JurisdictionFile, inherited: list[Rule], rule: Rule, where: str
) -> Iterator[Finding]:
    """A rule that lets data leave the profile's own countries needs more than memory.

    What an inherited transfer rule allows with a source, such as the adequate countries of `eu`,
    may be narrowed on memory: rules add up, so the narrower one can only refuse more.
    """
    beyond = set(rule.within) - set(profile.countries)
    for confirmed in inherited:
        if (
            confirmed.demand is Demand.TRANSFER
            and confirmed.law.confidence not in _UNCONFIRMED
            and rule.data_classes <= confirmed.data_classes
        ):
            beyond -= set(confirmed.within)
    if beyond and rule.law.confidence in _UNCONFIRMED:
        yield Finding(
            "a rule allows other countries on a fact that nobody confirmed",
            where,
            expected="within the profile's own countries, or a source with confidence medium",
            got=", ".join(sorted(beyond)),
        )


def _stale(reviewed: str, where: str, now: datetime.date) -> Iterator[Finding]:
    day = _day(reviewed)
    if day is None:
        yield Finding("the date of the review is none", where, got=reviewed)
    elif (now - day).days > STALE_AFTER_DAYS:
        yield Finding(
            "the review is stale",
            where,
            expected=f"at most {STALE_AFTER_DAYS} days old",
            got=f"{reviewed}, {(now - day).days} days ago",
            next_step="look the sources up again and set the new date",
        )


def _day(text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None
