"""Legal paths abroad: which declared transfers open a rule, and what could be declared.

A mechanism opens a rule only when the profile names it, somebody looked its law up, it holds for
the class of data and the country, and the user declares it. Whatever is short of that is told as
the reason why it opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from packager.comply.situation import Situation
from packager.domain.hardware import Confidence
from packager.domain.jurisdiction import Demand, Rule
from packager.domain.transfer import DeclaredTransfer, Mechanism, MechanismKind, TransferPath

_ORDER = tuple(MechanismKind)
OPENABLE = frozenset(
    {
        Demand.INFERENCE_WITHIN,
        Demand.TRANSFER,
        Demand.DATA_AT_REST_WITHIN,
        Demand.LOGS_WITHIN,
    }
)


def paths(rule: Rule, situation: Situation, countries: Iterable[str]) -> tuple[TransferPath, ...]:
    """The declared transfers that open `rule` for some of `countries`, in a fixed order."""
    declared = situation.request.declared.transfers
    if not declared or rule.demand not in OPENABLE:
        return ()
    wanted, found = set(countries), []
    for one in sorted(declared):
        mechanism = situation.target.jurisdiction.mechanisms.get(one.mechanism)
        if mechanism and mechanism.opens_rule(rule.id, situation.request.data_class):
            opened = tuple(sorted(wanted & set(one.to) & set(mechanism.to)))
            if opened:
                found.append(TransferPath(one, mechanism, opened))
    return tuple(found)


def opened(rule: Rule, situation: Situation, countries: Iterable[str]) -> frozenset[str]:
    """Those of `countries` that a declared transfer opens `rule` for."""
    return frozenset(code for path in paths(rule, situation, countries) for code in path.countries)


def short_of(rule: Rule, situation: Situation, countries: Iterable[str]) -> list[str]:
    """Why declared transfers that could have to do with `rule` do not open it for `countries`."""
    wanted = set(countries)
    return [
        f"{one.mechanism}, as you declared it, {why}"
        for one in sorted(situation.request.declared.transfers)
        for mechanism in [situation.target.jurisdiction.mechanisms.get(one.mechanism)]
        if mechanism
        for why in [_why_not(rule, situation, one, mechanism, wanted)]
        if why
    ]


def _why_not(
    rule: Rule,
    situation: Situation,
    declared: DeclaredTransfer,
    mechanism: Mechanism,
    wanted: set[str],
) -> str | None:
    data = situation.request.data_class
    if rule.id not in mechanism.opens:
        return "does not set this rule aside"
    if data not in mechanism.data_classes:
        return f"does not hold for {data.value} data"
    if not mechanism.confirmed:
        known = mechanism.law.confidence
        unsure = "memory only" if known is Confidence.MEMORY else "a weak source only"
        return f"is known from {unsure}, so it opens nothing"
    if missing := sorted(wanted - set(declared.to)):
        return f"names {', '.join(declared.to)} and not {', '.join(missing)}"
    if missing := sorted(wanted - set(mechanism.to)):
        return f"cannot lead to {', '.join(missing)}"
    return None


def propose_paths(rule: Rule, situation: Situation, countries: Iterable[str]) -> str | None:
    """What could be declared, or the rule that nothing opens; None when no law here has a path."""
    wanted = sorted(set(countries))
    jurisdiction, data = situation.target.jurisdiction, situation.request.data_class
    if not jurisdiction.mechanisms or not wanted:
        return None
    ways = _ways(rule, situation, wanted)
    if not ways:
        return _unconfirmed(rule, situation)
    closed = sorted(
        f"{jurisdiction.owner[other.id]}/{other.id}"
        for other in jurisdiction.rules
        if other is not rule
        and other.demand in OPENABLE
        and data in other.data_classes
        and set(wanted) - set(other.within)
        and not _ways(other, situation, [code for code in wanted if code not in other.within])
    )
    if closed:
        return f"a transfer mechanism would not help: {', '.join(closed)} knows none"
    named = ", ".join(f"{name} ({mechanism.kind.value})" for name, mechanism in ways)
    first = ways[0][0]
    return (
        f"or, if you hold one of {named}, declare it: `transfers: [{{mechanism: {first}, "
        f"to: [{', '.join(wanted)}], recipient: …, document: …, dated: …}}]`"
    )


def _ways(
    rule: Rule, situation: Situation, countries: Iterable[str]
) -> list[tuple[str, Mechanism]]:
    """From a decision on the country down to consent, the order in which laws name them."""
    found = [
        (name, mechanism)
        for name, mechanism in situation.target.jurisdiction.mechanisms.items()
        if mechanism.opens_rule(rule.id, situation.request.data_class)
        and set(countries) <= set(mechanism.to)
    ]
    return sorted(found, key=lambda way: (_ORDER.index(way[1].kind), way[0]))


def _unconfirmed(rule: Rule, situation: Situation) -> str | None:
    data = situation.request.data_class
    names = [
        name
        for name, mechanism in sorted(situation.target.jurisdiction.mechanisms.items())
        if not mechanism.confirmed and rule.id in mechanism.opens and data in mechanism.data_classes
    ]
    if not names:
        return None
    return (
        f"{', '.join(names)} may be a path, but nobody looked the law up: confirm it as a "
        "mechanism of your own, in a profile given with --targets"
    )
