"""The calls of `inference.GRPCInferenceService` that read what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import VERSION
from ..errors import RequestError
from ..extensions import Extensions, model_config, statistics
from ..models import Models
from ..server_routes import EXTENSIONS, ServerRoutes

SERVICE = "inference.GRPCInferenceService"


class Metadata:
    """Each call takes its request and gives the fields of its response; raises RequestError."""

    def __init__(
        self, routes: ServerRoutes, extensions: Extensions, models: Callable[[], Models]
    ) -> None:
        self._routes = routes
        self._extensions = extensions
        self._models = models

    def calls(self) -> dict[str, Callable[[Any], dict[str, Any]]]:
        """By name."""
        return {
            "ServerLive": lambda _: {"live": self._routes.live()},
            "ServerReady": lambda _: {"ready": self._routes.ready()},
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda _: {
                "name": "packager-runtime",
                "version": VERSION,
                "extensions": EXTENSIONS,
            },
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": lambda _: {"models": self._extensions.index()},
        }

    def _model_ready(self, request: Any) -> dict[str, Any]:
        """A model that is not here is not ready, which is no error: as with Triton."""
        try:
            return {"ready": self._routes.model_ready(request.name, request.version or None)}
        except RequestError:
            return {"ready": False}

    def _model_metadata(self, request: Any) -> dict[str, Any]:
        (model,) = self._extensions.chosen(request.name, request.version or None)[-1:]
        return model.metadata(self._models().versions(request.name))

    def _model_config(self, request: Any) -> dict[str, Any]:
        (model,) = self._extensions.chosen(request.name, request.version or None)[-1:]
        return {"config": model_config(model)}

    def _model_statistics(self, request: Any) -> dict[str, Any]:
        chosen = self._extensions.chosen(request.name or None, request.version or None)
        return {"model_stats": [statistics(model) for model in chosen]}
