"""Which path means what: a table in which every feature registers its paths.

A pattern is a path with parts in braces that match one non-empty segment: `/v2/models/{model}`.
What a route needs beside its handler is said by its kind, so that routing, access control,
admission and the journal are the same for every feature.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, NamedTuple

from .errors import RequestError, quoted
from .exchange import Exchange, Response

# A handler answers by what it returns, in a task where that is a coroutine, or later by `reply`
# where it returns None.
Answer = Response | None | Coroutine[Any, Any, Response | None]
Handler = Callable[[Exchange], Answer]

_REMEMBERED = 1024


class Kind(Enum):
    """HEALTH asks for no key and is not logged when all is well; METADATA reads what is there;
    INFERENCE works: it takes one of the bounded places, and is not read when none is free."""

    HEALTH = "health"
    METADATA = "metadata"
    INFERENCE = "inference"


class Route(NamedTuple):
    """A pattern and its handlers by method."""

    pattern: str
    kind: Kind
    handlers: dict[str, Handler]

    def handler(self, method: str) -> Handler:
        """Raises RequestError (405) for a method that is not offered."""
        found = self.handlers.get("GET" if method == "HEAD" else method)
        if found is None:
            offered = ", ".join((*self.handlers, *(("HEAD",) if "GET" in self.handlers else ())))
            raise RequestError(405, f"the method must be {offered}", headers={"allow": offered})
        return found


class Routes:
    """All routes. Literal segments win over open ones."""

    def __init__(self) -> None:
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        self._known: dict[str, tuple[Route, dict[str, str]]] = {}

    def add(self, method: str, pattern: str, handler: Handler, kind: Kind) -> None:
        """Register a handler; a pattern has one kind."""
        segments = pattern.split("/")[1:]
        bucket = self._by_length.setdefault(len(segments), [])
        for known, route in bucket:
            if known == segments:
                route.handlers[method] = handler
                return
        bucket.append((segments, Route(pattern, kind, {method: handler})))
        bucket.sort(key=lambda entry: [part.startswith("{") for part in entry[0]])

    def find(self, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a path and its open parts; raises RequestError (404)."""
        found = self._known.get(path)
        if found is not None:
            return found
        given = path.split("/")[1:]
        if len(given) > 1 and not given[-1]:
            given.pop()
        for segments, route in self._by_length.get(len(given), ()):
            arguments = _matched(segments, given)
            if arguments is not None:
                if len(self._known) < _REMEMBERED:
                    self._known[path] = (route, arguments)
                return route, arguments
        raise RequestError(404, f"there is nothing at {quoted(path)}")

    def all(self) -> list[Route]:
        """Every route, sorted by pattern."""
        routes = [route for bucket in self._by_length.values() for _, route in bucket]
        return sorted(routes, key=lambda route: route.pattern)


def _matched(segments: list[str], given: list[str]) -> dict[str, str] | None:
    arguments = {}
    for segment, part in zip(segments, given, strict=True):
        if segment.startswith("{"):
            if not part:
                return None
            arguments[segment[1:-1]] = part
        elif segment != part:
            return None
    return arguments
