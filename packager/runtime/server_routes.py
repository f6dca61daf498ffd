"""The routes of the Open Inference Protocol, and what they tell about server and models.

Source: Open Inference Protocol, `inference_rest.md`; Triton, "Model Configuration Extension",
"Statistics Extension" and "Model Repository Extension" (`index` alone: nothing is loaded or
unloaded while the server runs, because what runs is what was signed).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import VERSION
from .configuration import Configuration
from .exchange import Exchange, Response
from .inference import Inference
from .lifecycle import Lifecycle, Phase
from .models import Models
from .routes import Kind, Routes

if TYPE_CHECKING:
    from .generative.settings import GenerativeSettings

EXTENSIONS = (
    *("binary_tensor_data", "classification", "model_configuration"),
    *("schedule_policy", "statistics"),
)
_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


def text_metadata(text: GenerativeSettings) -> dict[str, object]:
    """Open Inference Protocol, "Model Metadata", of a model that generates text: what the
    extension `generate` takes and gives. `engine` is who runs it."""
    return {
        "name": text.name,
        "versions": [text.version],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1]}],
        "outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [1]}],
        "engine": text.engine.value,
    }


class ServerRoutes:
    """Health, metadata and inference. `models` is empty until they are loaded and tested."""

    def __init__(self, configuration: Configuration, lifecycle: Lifecycle) -> None:
        self.models = Models({})
        self._configuration = configuration
        self._lifecycle = lifecycle
        self._texts = {model.name: model for model in configuration.generative}

    def register(self, routes: Routes, inference: Inference) -> None:
        """Enter all paths into the table."""
        routes.add("GET", "/v2", self._server, Kind.METADATA)
        routes.add("GET", "/v2/health/live", self._live, Kind.HEALTH)
        routes.add("GET", "/v2/health/ready", self._ready, Kind.HEALTH)
        for path in _MODEL:
            routes.add("GET", path, self._started(self._model), Kind.METADATA)
            routes.add("GET", f"{path}/ready", self._started(self._model_ready), Kind.HEALTH)
            routes.add("POST", f"{path}/infer", inference, Kind.INFERENCE)

    def live(self) -> bool:
        return not self._lifecycle.hopeless

    def ready(self) -> bool:
        failing = any(model.scheduler.failing for model in self.models.all())
        return self._lifecycle.fit() and not failing

    def model_ready(self, name: str, version: str | None) -> bool:
        """Raises RequestError (404, or 503 before the start)."""
        self._lifecycle.require_started()
        text = self._texts.get(name)
        if text is not None and version in (None, text.version):
            return self._lifecycle.phase is Phase.READY and self._lifecycle.fit()
        model = self.models.find(name, version)
        return self._lifecycle.phase is Phase.READY and not model.scheduler.failing

    def _started(self, handler: Callable[[Exchange], Response]) -> Callable[[Exchange], Response]:
        def checked(exchange: Exchange) -> Response:
            self._lifecycle.require_started()
            return handler(exchange)

        return checked

    def _live(self, _: Exchange) -> Response:
        """False when only a restart can help; a kubelet acts on it."""
        live = self.live()
        return Response.of({"live": live}, 200 if live else 503)

    def _ready(self, _: Exchange) -> Response:
        """The protocol wants the status; clients that look at the body find the same there."""
        ready = self.ready()
        return Response.of({"ready": ready, **self._engines()}, 200 if ready else 503)

    def _model_ready(self, exchange: Exchange) -> Response:
        name = exchange.arguments["model"]
        ready = self.model_ready(name, exchange.arguments.get("version"))
        return Response.of({"name": name, "ready": ready}, 200 if ready else 503)

    def _model(self, exchange: Exchange) -> Response:
        name, version = exchange.arguments["model"], exchange.arguments.get("version")
        text = self._texts.get(name)
        if text is not None and version in (None, text.version):
            return Response.of(text_metadata(text))
        model = self.models.find(name, version)
        return Response.of(model.metadata(self.models.versions(name)))

    def _engines(self) -> dict[str, object]:
        """Who runs each text model: our engine, or one of the library's."""
        engines = {
            f"{text.name}/{text.version}": text.engine.value for text in self._texts.values()
        }
        return {"engines": engines} if engines else {}

    def _server(self, _: Exchange) -> Response:
        """Open Inference Protocol, "Server Metadata", and what this image is."""
        release = self._configuration.release
        return Response.of(
            {
                "name": "packager-runtime",
                "version": VERSION,
                "extensions": list(EXTENSIONS),
                "release": {
                    "name": release.name,
                    "version": release.version,
                    "target": release.target,
                },
                "execution_providers": {
                    f"{model.settings.name}/{model.settings.version}": (
                        model.session.execution_provider
                    )
                    for model in self.models.all()
                }
                | {
                    f"{text.name}/{text.version}": text.execution_provider
                    for text in self._texts.values()
                },
                **self._engines(),
            }
        )
