"""Strict reading of JSON: a cursor that knows where it stands.

`Reader(value, "server.json").at("http").integer("port", 0, 65535)` either gives the number or
raises a Refusal that begins with `server.json: http.port`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .errors import ExitCode, Refusal, quoted

_MISSING = object()


def parse(data: bytes, document: str) -> Any:
    """JSON without duplicate keys, NaN or infinity; raises Refusal when it is something else."""
    try:
        return json.loads(
            data.decode(), object_pairs_hook=without_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise Refusal(ExitCode.CONFIGURATION, f"{document}: not JSON: {error}") from error


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A `json` object hook: two keys of one name could be read differently by two readers."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {quoted(twice)} stands twice in one object")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number in JSON")


class Reader(NamedTuple):
    """A value, the document it came from, and the key path that leads to it."""

    value: Any
    document: str
    path: str = ""

    def wrong(self, must: str) -> Refusal:
        """The refusal to raise: where, what it must be, and what it is."""
        got = "nothing" if self.value is _MISSING else quoted(json.dumps(self.value))
        where = self.path or "the document"
        return Refusal(ExitCode.CONFIGURATION, f"{self.document}: {where} {must}; got {got}")

    def at(self, dotted: str) -> Reader:
        """The value under a key, or under several joined by dots; missing is a value too."""
        reader = self
        for key in dotted.split("."):
            value = reader.value.get(key, _MISSING) if isinstance(reader.value, dict) else _MISSING
            reader = Reader(value, self.document, f"{reader.path}.{key}" if reader.path else key)
        return reader

    def only(self, *keys: str, optional: tuple[str, ...] = ()) -> None:
        """These keys and perhaps those: raises for an unknown one, and for a missing one."""
        for key in self.names():
            if key not in keys and key not in optional:
                known = ", ".join((*keys, *optional))
                raise self.at(key).wrong(f"is unknown; known are {known}")
        for key in keys:
            if key not in self.value:
                raise self.at(key).wrong("is missing")

    def names(self) -> Iterator[str]:
        if not isinstance(self.value, dict):
            raise self.wrong("must be an object")
        return iter(self.value)

    def entries(self, key: str) -> list[Reader]:
        """The entries of the list under `key`."""
        found = self.at(key)
        if not isinstance(found.value, list):
            raise found.wrong("must be a list")
        return [
            Reader(value, self.document, f"{found.path}[{position}]")
            for position, value in enumerate(found.value)
        ]

    def text(self, key: str) -> str:
        """The text under `key`; never empty."""
        return self.at(key).as_text()

    def as_text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("must be text")
        return self.value

    def matching(self, pattern: re.Pattern[str], form: str) -> str:
        if not pattern.fullmatch(self.as_text()):
            raise self.wrong(f"must be {form}")
        return self.as_text()

    def relative_path(self) -> str:
        """A path below the document's folder, with `/`, without `.` and `..`."""
        text = self.as_text()
        if any(part in ("", ".", "..") for part in text.split("/")) or "\0" in text:
            raise self.wrong("must be a path below the folder of the document")
        return text

    def has(self, key: str) -> bool:
        """Whether the key is there; raises when this is no object."""
        return key in set(self.names())

    def flag(self, key: str, default: bool) -> bool:
        found = self.at(key)
        if found.value is _MISSING:
            return default
        if type(found.value) is not bool:
            raise found.wrong("must be true or false")
        return found.value

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        found = self.at(key)
        if found.value is _MISSING and default is not None:
            return default
        return found.as_integer(least, most)

    def as_integer(self, least: int, most: int) -> int:
        # bool is an int to Python, and not to JSON.
        if type(self.value) is not int or not least <= self.value <= most:
            raise self.wrong(f"must be a whole number between {least} and {most}")
        return self.value

    def number(self, key: str, least: float, most: float, default: float | None = None) -> float:
        found = self.at(key)
        value = found.value
        if value is _MISSING and default is not None:
            return default
        if (
            type(value) not in (int, float)
            or not math.isfinite(value)
            or not least <= value <= most
        ):
            raise found.wrong(f"must be a number between {least} and {most}")
        return float(value)
