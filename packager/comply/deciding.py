"""`decide`: every rule of the jurisdiction and every check of the hardware, for one target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from packager.comply.base import decide_base
from packager.comply.deciders import DECIDERS
from packager.comply.duties import decide_retention
from packager.comply.generation import decide_generation
from packager.comply.hardware import decide_hardware
from packager.comply.location import DECLARED_IN, TRANSFER_DUTIES
from packager.comply.origin import model_origin_known
from packager.comply.paths import OPENABLE, paths
from packager.comply.places import decide_places, decide_providers
from packager.comply.situation import Countries, Distances, Outcome, Situation, situate
from packager.domain.decision import Decision, Status
from packager.domain.jurisdiction import Demand, Rule
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import Region


def _no_distance(_one: Region, _other: Region) -> float | None:
    return None


def _no_home(_region: Region) -> str | None:
    return None


def decide(
    target: PlannedTarget,
    request: ReleaseRequest,
    country_of: Countries,
    distance_km: Distances = _no_distance,
    home_of: Countries = _no_home,
) -> tuple[Decision, ...]:
    """All decisions for a target, sorted by control. A pure function of its arguments.

    `country_of` tells the ISO 3166 code of a cloud region, None when it is not known;
    `distance_km` between two regions puts the nearest allowed ones first in a remedy; `home_of`
    tells the country of the seat of a region's provider. A rule with a
    date (`since`) is decided as if it were in force: the strict reading needs no clock.
    """
    situation = situate(target, request, country_of, distance_km, home_of)
    decisions = [_decide_rule(rule, situation) for rule in target.jurisdiction.rules]
    decisions += [_decision(*one, situation) for one in _TARGET]
    decisions.extend(decide_hardware(situation))
    decisions.extend(decide_generation(situation))
    return tuple(sorted(decisions, key=lambda decision: decision.control))


def _decide_rule(rule: Rule, situation: Situation) -> Decision:
    owner = situation.target.jurisdiction.owner[rule.id]
    data = situation.request.data_class
    if data in rule.data_classes:
        outcome = DECIDERS[rule.demand](rule, situation)
    else:
        concerned = ", ".join(sorted(kind.value for kind in rule.data_classes))
        outcome = Outcome(
            Status.NOT_APPLICABLE, f"the data is {data.value}; the rule concerns {concerned}"
        )
    decision = Decision(
        control=f"{owner}/{rule.id}",
        requirement=rule.text,
        status=outcome.status,
        why=f"{outcome.why}. Note: {rule.note}" if _noteworthy(rule, outcome) else outcome.why,
        by=outcome.by,
        remedy=outcome.remedy,
        law=rule.law,
    )
    return _by_path(decision, rule, situation) if outcome.status in _PASSED else decision


_PASSED = (Status.ENFORCED, Status.EVIDENCED, Status.LEFT_TO_OPERATOR)


def _by_path(decision: Decision, rule: Rule, situation: Situation) -> Decision:
    """What passes by a declared transfer is left to the operator, with the path in sight."""
    if rule.demand not in OPENABLE:
        return decision
    found = paths(rule, situation, situation.countries(rule.demand) - set(rule.within))
    if not found:
        return decision
    told = "; ".join(map(str, found)).rstrip(".")
    duties = "; ".join(dict.fromkeys(path.mechanism.asks for path in found))
    rest = TRANSFER_DUTIES if rule.demand is Demand.TRANSFER else decision.why
    return replace(
        decision,
        status=Status.LEFT_TO_OPERATOR,
        why=f"outside what the rule allows by itself, and lawful only while this holds: {told}. "
        f"Have at hand: {duties}. {rest[0].upper()}{rest[1:]}",
        by=tuple(dict.fromkeys((*decision.by, DECLARED_IN))),
        paths=found,
    )


def _noteworthy(rule: Rule, outcome: Outcome) -> bool:
    return rule.note is not None and outcome.status is not Status.NOT_APPLICABLE


def _decision(
    control: str, requirement: str, decider: Callable[[Situation], Outcome], situation: Situation
) -> Decision:
    found = decider(situation)
    return Decision(control, requirement, found.status, found.why, found.by, found.remedy)


_TARGET: tuple[tuple[str, str, Callable[[Situation], Outcome]], ...] = (
    ("target/places", "Every region is known by country.", decide_places),
    ("target/providers", "The law behind each provider is known.", decide_providers),
    ("target/base", "What the image is built on is known.", decide_base),
    ("target/model-origin", "Who made the model is known.", model_origin_known),
    ("target/retention", "What the server writes is kept for one known span.", decide_retention),
)
