"""Reads the `mechanisms` of a jurisdiction's file: the legal paths abroad that its law knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from packager.catalogue.groups import Group, countries
from packager.domain.law import Law
from packager.domain.target import DataClass
from packager.domain.transfer import Mechanism, MechanismKind
from packager.section import Section


def read_mechanism(
    entry: Section,
    groups: Mapping[str, Group],
    name: str,
    law: Law,
    date: Callable[[Section, str], str | None],
) -> Mechanism:
    """One entry. `to` may name groups, `except` takes countries out; notes what is wrong."""
    data, opens = entry.choices("data", DataClass), entry.texts("opens")
    if not data:
        entry.note("data", "no class of data", expected=" | ".join(one.value for one in DataClass))
    if not opens:
        entry.note("opens", "a mechanism opens at least one rule", expected="ids of rules")
    listed, excepted = countries(entry, "to", groups), countries(entry, "except", groups)
    if not listed:
        entry.note("to", "a mechanism leads somewhere", expected="countries, or [world]")
    if stray := sorted(set(excepted) - set(listed)):
        entry.note("except", "takes out what `to` does not list", got=", ".join(stray))
    return Mechanism(
        id=name,
        kind=entry.choice("kind", MechanismKind),
        opens=tuple(sorted(set(opens))),
        data_classes=frozenset(data),
        to=tuple(code for code in listed if code not in excepted),
        text=entry.text("text"),
        asks=entry.text("asks"),
        law=law,
        since=date(entry, "since"),
        until=date(entry, "until"),
        note=entry.optional_text("note"),
    )


def strangers(mechanism: Mechanism, rules: Sequence[str]) -> list[str]:
    """What a mechanism claims to open and is no rule on places of the profile."""
    return sorted(set(mechanism.opens) - set(rules))
