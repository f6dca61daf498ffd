"""Inheritance: `de` carries the rules of `eu` too.

A profile inherits every rule of its parents and adds its own. It can never drop one in silence: to
set a rule aside it names it (`replaces: gdpr-transfer`) and states what holds instead. What comes
out does not depend on the order in which parents are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from packager.catalogue.jurisdiction_file import JurisdictionFile
from packager.catalogue.mechanisms import strangers
from packager.domain.jurisdiction import Jurisdiction, Rule
from packager.domain.target import Region
from packager.domain.transfer import Mechanism
from packager.errors import Finding, InputError

_Profile = TypeVar("_Profile")


@dataclass(frozen=True, slots=True)
class _Inherited:
    """The rules of a profile and its parents, by (owner, id), and what was replaced on the way."""

    rules: Mapping[tuple[str, str], Rule]
    replaced: frozenset[tuple[str, str]]
    uncertain: frozenset[str]
    mechanisms: Mapping[str, Mechanism]


def resolve(
    profile: JurisdictionFile,
    parent: Callable[[str], JurisdictionFile],
    regions: frozenset[Region],
) -> Jurisdiction:
    """The profile with everything that it inherits. Raises InputError for a cycle or a clash."""
    inherited = _inherit(profile, parent, ())
    rules = {
        key: rule for key, rule in sorted(inherited.rules.items()) if key not in inherited.replaced
    }
    owner: dict[str, str] = {}
    clashes = []
    for owning, name in rules:
        if name in owner:
            clashes.append(
                Finding(
                    f"two parents have a rule {name!r}",
                    where=str(profile.file),
                    got=f"{owner[name]}/{name} and {owning}/{name}",
                    next_step="rename one, or replace both with a rule of this profile",
                )
            )
        owner[name] = owning
    clashes += [
        Finding(
            "a mechanism opens what is no rule of this profile",
            where=profile.lines[mechanism.id],
            expected=", ".join(sorted(owner)),
            got=", ".join(strange),
        )
        for mechanism in profile.mechanisms
        if (strange := strangers(mechanism, list(owner)))
    ]
    if clashes:
        raise InputError.of(clashes)
    return Jurisdiction(
        id=profile.id,
        name=profile.name,
        countries=profile.countries,
        parents=profile.extends,
        rules=tuple(rules.values()),
        regions=regions,
        registries=tuple(sorted(profile.registries)),
        owner=owner,
        uncertain=tuple(sorted(inherited.uncertain)),
        confidence=profile.confidence,
        reviewed=profile.reviewed,
        mechanisms=dict(sorted(inherited.mechanisms.items())),
    )


def refuse_cycle(name: str, path: tuple[str, ...], where: str) -> None:
    """Raises InputError when `name` stands in the chain of profiles that led to it."""
    if name in path:
        raise InputError(
            "profiles inherit in a circle",
            where=where,
            got=" → ".join((*path[path.index(name) :], name)),
            next_step="take one `extends` out",
        )


def _inherit(
    profile: JurisdictionFile, parent: Callable[[str], JurisdictionFile], path: tuple[str, ...]
) -> _Inherited:
    refuse_cycle(profile.id, path, str(profile.file))
    parents = [_inherit(parent(name), parent, (*path, profile.id)) for name in profile.extends]
    rules = {key: rule for inherited in parents for key, rule in inherited.rules.items()}
    replaced = {key for inherited in parents for key in inherited.replaced}
    for name, ours in sorted(profile.replaces.items()):
        hit = {key for key in rules if key[1] == name}
        if not hit:
            raise InputError(
                f"no parent has a rule {name!r} to replace",
                where=profile.lines[ours],
                expected=", ".join(sorted(key[1] for key in rules)) or "a parent in `extends`",
            )
        replaced |= hit
    rules |= {(profile.id, rule.id): rule for rule in profile.rules}
    uncertain = frozenset(profile.uncertain).union(*(one.uncertain for one in parents))
    mechanisms = {name: path for one in parents for name, path in one.mechanisms.items()}
    mechanisms |= {f"{profile.id}/{path.id}": path for path in profile.mechanisms}
    return _Inherited(rules, frozenset(replaced), uncertain, mechanisms)
