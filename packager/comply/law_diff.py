"""A change of law: which rules differ between two states of a profile, and what it now refuses.

Pure functions. A target counts as newly refused when a control is violated now that was not before,
whatever else was violated then: each new violation is news to whoever runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from packager.domain.decision import Decision, Status
from packager.domain.jurisdiction import Jurisdiction, Rule
from packager.domain.transfer import Mechanism


class Change(StrEnum):
    """What happened to a rule."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, order=True)
class RuleChange:
    """One rule that differs; `what` names the parts that changed."""

    control: str
    change: Change
    what: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {"control": self.control, "change": self.change.value, "what": list(self.what)}


def changed_rules(old: Jurisdiction | None, new: Jurisdiction | None) -> tuple[RuleChange, ...]:
    """Rules and mechanisms that differ, inherited ones included; None stands for no profile."""
    before, after = _by_control(old), _by_control(new)
    changes = [RuleChange(name, Change.ADDED) for name in after.keys() - before.keys()]
    changes += [RuleChange(name, Change.REMOVED) for name in before.keys() - after.keys()]
    changes += [
        RuleChange(name, Change.CHANGED, _differing(before[name], after[name]))
        for name in before.keys() & after.keys()
        if before[name] != after[name]
    ]
    return tuple(sorted(changes))


def newly_violated(old: Sequence[Decision], new: Sequence[Decision]) -> tuple[Decision, ...]:
    """What refuses a target now and did not before, by control."""
    before = {one.control for one in old if one.status is Status.VIOLATED}
    return tuple(
        one
        for one in sorted(new, key=lambda decision: decision.control)
        if one.status is Status.VIOLATED and one.control not in before
    )


def _by_control(profile: Jurisdiction | None) -> dict[str, Rule | Mechanism]:
    """Rules and mechanisms by name. Both are law: a path that is struck down refuses as well."""
    if profile is None:
        return {}
    rules = {f"{profile.owner[rule.id]}/{rule.id}": rule for rule in profile.rules}
    return {**rules, **profile.mechanisms}


def _differing(old: Rule | Mechanism, new: Rule | Mechanism) -> tuple[str, ...]:
    if type(old) is not type(new):
        return ("kind",)
    return tuple(
        part.name for part in fields(old) if getattr(old, part.name) != getattr(new, part.name)
    )
