"""A grammar that takes long to compile holds up everybody's answers: it is refused, unseen."""

from __future__ import annotations

from typing import Any

import pytest

from packager.runtime.errors import RequestError
from packager.runtime.generative.grammar_bounds import MOST_PATTERNS, require_bearable


def patterned(count: int) -> dict[str, Any]:
    return {"patternProperties": {f"^x{number}[a-z]+$": {} for number in range(count)}}


def both(*divisors: float) -> dict[str, Any]:
    return {"allOf": [{"multipleOf": divisor} for divisor in divisors]}


def side_by_side(*divisors: float) -> dict[str, Any]:
    return {"prefixItems": [{"multipleOf": divisor} for divisor in divisors]}


@pytest.mark.parametrize(
    "schema",
    [
        patterned(MOST_PATTERNS + 1),
        {"prefixItems": [patterned(MOST_PATTERNS // 2 + 1)] * 2},
        {"multipleOf": 999_983},
        {"multipleOf": -999_983},
        {"multipleOf": 999.983},
        side_by_side(*[9001] * 3),
        both(251, 241),
        {"$defs": {"a": {"multipleOf": 251}}, "multipleOf": 241, "$ref": "#/$defs/a"},
        {"anyOf": [{"not": {"items": {"multipleOf": 999_983}}}]},
        {"description": "x" * (1 << 17)},
    ],
)
def test_what_takes_long_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        require_bearable({"json_schema": schema}, "response_format")
    assert refused.value.status == 400
    assert "response_format" in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        patterned(MOST_PATTERNS),
        {"multipleOf": 1_000_000},
        {"multipleOf": 0.01},
        {"multipleOf": 0},
        side_by_side(7, 11, 13, 17, 19),
        both(100, 0.5, 4, 25),
        {"properties": {"multipleOf": {"type": "integer"}, "patternProperties": {}}},
        {"enum": [f"word {number}" for number in range(5000)]},
    ],
)
def test_what_people_write_is_not(schema: dict[str, Any]) -> None:
    grammar = {"json_schema": schema}
    assert require_bearable(grammar, "response_format") is grammar


def test_other_grammars_are_only_bound_in_size() -> None:
    require_bearable({"regex": "[a-z]+"}, "guided_regex")
    with pytest.raises(RequestError):
        require_bearable({"regex": "a" * (1 << 17)}, "guided_regex")
