"""The demand on where a model comes from: the country of whoever made it."""

from __future__ import annotations

from packager.comply.each_model import for_each_model
from packager.comply.location import DECLARED_IN, allowed
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule


def model_origin_known(situation: Situation) -> Outcome:
    """Whatever the rules say: the country of the maker is on record, or yours to find out."""
    return for_each_model(_origin_known, situation)


def _origin_known(situation: Situation) -> Outcome:
    origin = situation.request.declared.model_origin
    if origin is None:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            "the request does not say who made the model; put it on record with "
            "`model: {origin: <ISO 3166 code>}`",
        )
    return Outcome(
        Status.EVIDENCED, f"the model comes from {origin}, as you declared", (DECLARED_IN,)
    )


def decide_model_origin(rule: Rule, situation: Situation) -> Outcome:
    """Weights do not tell who trained them: the user declares it, and is held to it."""
    return for_each_model(lambda one: _decide_origin(rule, one), situation)


def _decide_origin(rule: Rule, situation: Situation) -> Outcome:
    origin = situation.request.declared.model_origin
    if origin is None:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            "the request does not say where the model comes from: find out who made it, and "
            "declare it with `model: {origin: <ISO 3166 code>}`",
        )
    if origin not in rule.within:
        return Outcome(
            Status.VIOLATED,
            f"the model comes from {origin}, as you declared, which the rule leaves out",
            remedy=f"use a model from {allowed(rule)}",
        )
    return Outcome(
        Status.EVIDENCED, f"the model comes from {origin}, as you declared", (DECLARED_IN,)
    )
