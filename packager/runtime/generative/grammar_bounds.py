"""Which grammars may be compiled: nobody's tokens come meanwhile, so a tenth of a second each.

Size alone does not say what compiling costs. What costs more than its size, measured with
llguidance 1.9 on one core: patterns of property names are held against each other (128: 0.07 s,
300: 1.2 s, 600: 40 s), and a number that must be a multiple of n becomes an automaton of n states
(9001: 0.04 s, 999983: 6.3 s), of all their states together where two schemas hold at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson

from ..errors import RequestError

MOST_BYTES = 1 << 17
MOST_PATTERNS = 128
MOST_STATES = 20_000
_TOGETHER = ("allOf", "$ref", "$dynamicRef")
"""Keywords by which two schemas hold for one value."""


def require_bearable(grammar: dict[str, Any], parameter: str) -> dict[str, Any]:
    """The grammar itself; raises RequestError (400) for one that takes long to compile."""
    try:
        size = len(orjson.dumps(grammar))
    except orjson.JSONEncodeError as error:  # it reads deeper than it writes
        raise _wrong("is nested too deeply", parameter) from error
    if size > MOST_BYTES:
        raise _wrong(f"must have at most {MOST_BYTES} bytes", parameter)
    if "json_schema" in grammar:
        _require_bearable_schema(grammar["json_schema"], parameter)
    return grammar


def _require_bearable_schema(schema: dict[str, Any], parameter: str) -> None:
    patterns, states, together = 0, [], False
    for level in _objects(schema):
        together = together or any(key in level for key in _TOGETHER)
        named = level.get("patternProperties")
        patterns += len(named) if isinstance(named, dict) else 0
        divisor = level.get("multipleOf")
        if isinstance(divisor, int | float) and not isinstance(divisor, bool):
            states.append(_states(divisor))
    if patterns > MOST_PATTERNS:
        raise _wrong(f"may have {MOST_PATTERNS} patternProperties, and has {patterns}", parameter)
    if max(sum(states), math.lcm(*states) if together else 0) > MOST_STATES:
        raise _wrong(f"multipleOf must come to at most {MOST_STATES} in all", parameter)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema, whatever it stands for."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _states(divisor: float) -> int:
    """States of an automaton for multiples of a number: what is left without its twos and fives,
    which the last digits decide, and without its point."""
    rest = int("".join(map(str, Decimal(str(abs(divisor))).as_tuple().digits)))
    for factor in (2, 5):
        while rest and rest % factor == 0:
            rest //= factor
    return max(rest, 1)


def _wrong(message: str, parameter: str) -> RequestError:
    return RequestError(400, f"{parameter}: {message}")
