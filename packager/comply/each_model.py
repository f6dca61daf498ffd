"""A demand on the model, where a release has several: every one of them has to meet it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status

_WORST_FIRST = (
    Status.VIOLATED,
    Status.LEFT_TO_OPERATOR,
    Status.EVIDENCED,
    Status.ENFORCED,
    Status.NOT_APPLICABLE,
)


def for_each_model(decider: Callable[[Situation], Outcome], situation: Situation) -> Outcome:
    """The worst of the outcomes for the single models, with what is told of each by its name."""
    requests = situation.request.models
    outcomes = [
        (str(request.model_name), decider(replace(situation, request=request)))
        for request in requests
    ]
    if len(outcomes) == 1:
        return outcomes[0][1]
    outcomes.sort(key=lambda one: _WORST_FIRST.index(one[1].status))
    remedies = [f"{name}: {found.remedy}" for name, found in outcomes if found.remedy]
    return Outcome(
        outcomes[0][1].status,
        _told([(name, found.why) for name, found in outcomes]),
        tuple(dict.fromkeys(path for _, found in outcomes for path in found.by)),
        "; ".join(remedies) or None,
    )


def _told(reasons: list[tuple[str, str]]) -> str:
    """Each reason once, after the names of the models that it is about."""
    names: dict[str, list[str]] = {}
    for name, why in reasons:
        names.setdefault(why, []).append(name)
    if len(names) == 1:
        return f"every model: {reasons[0][1]}"
    return "; ".join(f"{', '.join(found)}: {why}" for why, found in names.items())
