"""JSON from strangers, read with bounds.

The standard reader takes anything: gigabytes, a million brackets, the same key twice (the last one
wins, another reader may take the first), NaN. Signed documents must mean one thing to every reader,
so all of these are refused here, and whoever calls says how large a document may be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 32


def loads(data: bytes, *, limit: int, depth: int = MAX_DEPTH) -> Any:
    """Parse one JSON document of at most `limit` bytes, nested at most `depth` deep.

    Raises ValueError, saying why, for a longer or deeper document, one that is not UTF-8, two equal
    keys in one object, NaN or Infinity, a lone surrogate, or anything that is not JSON.
    """
    if len(data) > limit:
        raise ValueError(f"longer than {limit} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(f"nested more than {depth} deep") from None
    _check(value, depth)
    return value


def load_object(data: bytes, *, limit: int, depth: int = MAX_DEPTH) -> dict[str, Any]:
    """As `loads`, for a document that must be an object."""
    value = loads(data, limit=limit, depth=depth)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name[:80]!r} stands twice in one object")
            seen.add(name)
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(value: Any, depth: int) -> None:
    """Depth and text, level by level, without recursion."""
    level = [value]
    for left in range(depth, -1, -1):
        for item in level:
            if isinstance(item, str) and not item.isascii():
                _check_text(item)
        nested = [item for item in level if isinstance(item, dict | list)]
        if not nested:
            return
        if left == 0:
            raise ValueError(f"nested more than {depth} deep")
        level = [inner for item in nested for inner in _within(item)]


def _within(nested: dict[str, Any] | list[Any]) -> list[Any]:
    return nested if isinstance(nested, list) else [*nested.keys(), *nested.values()]


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character (a lone surrogate)") from None
