"""`/v1/models` and `/v1/models/{model}`: one list, whatever kinds of models an image holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import RequestError, quoted
from .exchange import Exchange, Response
from .routes import Kind, Routes

Source = Callable[[], Mapping[str, Mapping[str, Any]]]


class ModelList:
    """The handlers. Each source tells its models by name, with what it says of them beside."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    def register(self, routes: Routes) -> None:
        """Enter the paths; without any source there is nothing to list."""
        if self.sources:
            routes.add("GET", "/v1/models", self._all, Kind.METADATA)
            routes.add("GET", "/v1/models/{model}", self._one, Kind.METADATA)

    def _all(self, _: Exchange) -> Response:
        return Response.of({"object": "list", "data": list(self._described().values())})

    def _one(self, exchange: Exchange) -> Response:
        name = exchange.arguments["model"]
        described = self._described().get(name)
        if described is None:
            raise RequestError(404, f"there is no model {quoted(name)}")
        return Response.of(described)

    def _described(self) -> dict[str, dict[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for source in self.sources:
            found.update(source())
        return {
            name: {"id": name, "object": "model", "created": 0, "owned_by": "packager", **more}
            for name, more in sorted(found.items())
        }
