"""Triton's extensions that read: statistics, model configuration and the index of models.

Nothing is loaded or unloaded while the server runs: what runs is what was signed. Sources: Triton,
"Statistics Extension", "Model Configuration Extension", "Model Repository Extension".
"""

from __future__ import annotations

from collections.abc import Callable

from .configuration import ModelSettings
from .datatypes import BYTES, TensorSpec
from .exchange import Exchange, Response
from .lifecycle import Lifecycle
from .models import Model, Models
from .routes import Kind, Routes

_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


class Extensions:
    """The handlers; `models` gives what is in service."""

    def __init__(self, models: Callable[[], Models], lifecycle: Lifecycle) -> None:
        self._models = models
        self._lifecycle = lifecycle

    def register(self, routes: Routes) -> None:
        """Enter all paths into the table."""
        for path in _MODEL:
            routes.add("GET", f"{path}/stats", self._statistics, Kind.METADATA)
            routes.add("GET", f"{path}/config", self._config, Kind.METADATA)
        routes.add("GET", "/v2/models/stats", self._statistics, Kind.METADATA)
        routes.add("POST", "/v2/repository/index", self._index, Kind.METADATA)

    def _statistics(self, exchange: Exchange) -> Response:
        chosen = self.chosen(exchange.arguments.get("model"), exchange.arguments.get("version"))
        return Response.of({"model_stats": [statistics(model) for model in chosen]})

    def _config(self, exchange: Exchange) -> Response:
        self._lifecycle.require_started()
        arguments = exchange.arguments
        model = self._models().find(arguments["model"], arguments.get("version"))
        return Response.of(model_config(model))

    def _index(self, _: Exchange) -> Response:
        return Response.of(self.index())

    def chosen(self, name: str | None, version: str | None) -> list[Model]:
        """All models, all versions of one, or one; raises RequestError (404, 503)."""
        self._lifecycle.require_started()
        models = self._models()
        if name is None:
            return list(models.all())
        if version is None:
            models.find(name, None)
            return [models.find(name, one) for one in models.versions(name)]
        return [models.find(name, version)]

    def index(self) -> list[dict[str, str]]:
        """Name, version, state and reason of everything that was declared."""
        return [
            {
                "name": model.settings.name,
                "version": model.settings.version,
                "state": "UNAVAILABLE" if model.scheduler.failing else "READY",
                "reason": "inference fails" if model.scheduler.failing else "",
            }
            for model in self._models().all()
        ]


def statistics(model: Model) -> dict[str, object]:
    """An entry of `model_stats`."""
    return model.scheduler.statistics.as_dict(model.settings.name, model.settings.version)


def model_config(model: Model) -> dict[str, object]:
    """Triton's ModelConfig in JSON; with batching the dimension of the batch is left out."""
    settings = model.settings
    batching = settings.batching
    first = 1 if batching.max_batch_size else 0
    config: dict[str, object] = {
        "name": settings.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": batching.max_batch_size,
        "input": [_tensor(spec, first) for spec in settings.inputs],
        "output": [_tensor(spec, first) for spec in settings.outputs],
        "instance_group": [
            {"name": settings.name, "kind": _kind(settings), "count": model.scheduler.instances}
        ],
    }
    if batching.max_batch_size:
        config["dynamic_batching"] = {
            "preferred_batch_size": list(batching.preferred_batch_size),
            "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
            "priority_levels": batching.priority_levels if batching.priority_levels > 1 else 0,
            "default_priority_level": batching.default_priority_level
            if batching.priority_levels > 1
            else 0,
            "default_queue_policy": {
                "timeout_action": batching.policy.timeout_action.value,
                "default_timeout_microseconds": batching.policy.default_timeout_microseconds,
                "allow_timeout_override": batching.policy.allow_timeout_override,
                "max_queue_size": batching.policy.max_queue_size,
            },
        }
    return config


def _tensor(spec: TensorSpec, first: int) -> dict[str, object]:
    name = "STRING" if spec.datatype is BYTES else spec.datatype.name
    return {"name": spec.name, "data_type": f"TYPE_{name}", "dims": list(spec.shape[first:])}


def _kind(settings: ModelSettings) -> str:
    return "KIND_CPU" if settings.execution_provider == "CPUExecutionProvider" else "KIND_GPU"
