"""Text generation as a feature of the server: its workers, its routes, its figures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from ..figures import Figure
from ..journal import Journal
from ..lifecycle import Lifecycle
from ..routes import Routes
from .client import Worker
from .generate import Generate
from .openai import OpenAi, TextModel
from .settings import GenerativeSettings

_COUNTED = {
    "tokens": ("packager_generated_tokens_total", "Tokens that were said"),
    "cached_tokens": ("packager_cached_prompt_tokens_total", "Prompt tokens not read again"),
    "steps": ("packager_engine_steps_total", "Steps of the engine"),
    "drafted": ("packager_drafted_tokens_total", "Tokens that were guessed"),
    "accepted": ("packager_accepted_tokens_total", "Guessed tokens that stood"),
}
_GAUGED = {
    "active": ("packager_generations_active", "Answers that are being given"),
    "waiting": ("nv_inference_pending_request_count", "Requests that wait"),
    "gain": ("packager_speculation_gain", "What a step with guesses yields over its cost"),
}


class Generation:
    """All generative models of the server."""

    def __init__(
        self,
        configuration: Path,
        declared: tuple[GenerativeSettings, ...],
        lifecycle: Lifecycle,
        journal: Journal,
        helpers: Executor,
    ) -> None:
        self._helpers = helpers
        self._lifecycle = lifecycle
        self._journal = journal
        self._models: dict[str, TextModel] = {}
        self._workers = {
            settings.name: Worker(configuration, settings, partial(self._died, settings.name))
            for settings in declared
        }
        self._declared = {settings.name: settings for settings in declared}
        self._configuration = configuration

    def register(self, routes: Routes) -> None:
        """Enter the routes of OpenAI and of the protocol's generate extension."""
        OpenAi(lambda: self._models).register(routes)
        Generate(lambda: self._models).register(routes)

    def listed(self) -> dict[str, dict[str, object]]:
        """The models for `/v1/models`, with the tokens that one of their slots holds, and who runs
        them."""
        return {
            name: {"max_model_len": settings.slot_tokens, "engine": settings.engine.value}
            for name, settings in self._declared.items()
            if name in self._models
        }

    async def start(self) -> None:
        """Load and test every model; raises Refusal."""
        await asyncio.gather(*(worker.start() for worker in self._workers.values()))
        self._models = {
            name: TextModel(self._configuration, self._declared[name], worker, self._helpers)
            for name, worker in self._workers.items()
        }

    def ready(self) -> bool:
        """Whether every worker is there and answers."""
        return all(worker.ready for worker in self._workers.values())

    def figures(self) -> Iterator[Figure]:
        """What `/metrics` tells of the engines, as the workers said it last."""
        for name, worker in self._workers.items():
            labels = {"model": name, "version": self._declared[name].version}
            for key, (metric, told) in _COUNTED.items():
                yield "counter", metric, told, labels, worker.stats.values.get(key, 0)
            for key, (metric, told) in _GAUGED.items():
                yield "gauge", metric, told, labels, worker.stats.values.get(key, 0)
            runs = {**labels, "engine": self._declared[name].engine.value}
            yield "gauge", "packager_text_engine", "Who runs the model, as a label", runs, 1
            restarts = "Workers that were started again"
            yield "counter", "packager_worker_restarts", restarts, labels, worker.stats.restarts

    async def stop(self) -> None:
        ends = [worker.stop() for worker in self._workers.values()]
        ends += [model.trials.stop() for model in self._models.values()]
        await asyncio.gather(*ends)

    def _died(self, name: str, why: str) -> None:
        """A worker is gone: told in the log; when it died too often, liveness says so."""
        self._journal.event("worker_died", model=name, why=why)
        self._lifecycle.hopeless |= any(worker.hopeless for worker in self._workers.values())
