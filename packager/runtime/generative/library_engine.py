"""The library's batching engine (`og.Engine`) behind the protocol of ours.

On CUDA, with a graph that was exported for paged attention, it batches continuously; on a CPU the
same class batches what waits together and lets nobody in before all of that is done. It chooses
tokens itself and shows no logits, so that what needs them is refused in words: log-probabilities,
min-p, biases, the penalties of OpenAI. A grammar is the library's own, stop strings are the
server's as for the other engines.

Each request is a session of its own that is closed with its answer: nothing that one read is kept
for another one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .jobs import Event, Finish, Job, check_size
from .library import genai, open_model
from .sampling import Chosen
from .settings import GenerativeSettings

_LEAST_EVENTS = 16


@dataclass
class _Running:
    job: Job
    request: Any
    turn: int


class LibraryEngine:
    """The library's own queue and batches. Used by one thread alone."""

    def __init__(self, folder: Path, settings: GenerativeSettings) -> None:
        self._library = genai()
        self._model = open_model(folder, settings)
        self._engine = self._library.Engine(self._model)
        self._events = self._engine.create_event_buffer(max(_LEAST_EVENTS, 2 * settings.slots))
        self._settings = settings
        self._running: list[_Running] = []
        self.steps = self.tokens = 0

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stats(self) -> dict[str, float]:
        """The figures that `/metrics` tells; the library guesses nothing here, and keeps nothing
        that one conversation read for the next."""
        return {
            "active": min(len(self._running), self._settings.slots),
            "waiting": max(0, len(self._running) - self._settings.slots),
            "steps": self.steps,
            "tokens": self.tokens,
            "cached_tokens": 0,
            "drafted": 0,
            "accepted": 0,
            "gain": 1.0,
        }

    def submit(self, job: Job) -> None:
        """Raises ValueError for what the library cannot do, before anything waits for it."""
        check_size(job, self._settings.slot_tokens)
        if lacking := _lacking(job):
            raise ValueError(
                f"not supported here: {', '.join(lacking)}; this model is served by"
                " ONNX Runtime GenAI's engine, which shows no probabilities"
            )
        request = self._request(job)
        try:
            options = self._options(job, request)
            turn = request.begin_turn(np.array(job.prompt, np.int32), options)
        except (RuntimeError, TypeError, ValueError) as error:
            # A seed without paged attention, a grammar that is none: refused in its words.
            request.close()
            told = " ".join(str(error).split())[:300]
            raise ValueError(f"ONNX Runtime GenAI's engine refuses this: {told}") from error
        self._running.append(_Running(job, request, turn))

    def cancel(self, job: int) -> None:
        """Forget a job at once; it has no further events."""
        for one in [one for one in self._running if one.job.id == job]:
            one.request.cancel_turn(one.turn)
            self._end(one)

    def step(self) -> list[Event]:
        """One step of the library; its events are in no particular order."""
        self.steps += 1
        found = []
        for told in self._engine.run(self._events):
            one = next((one for one in self._running if one.request == told.request), None)
            if one is not None and told.turn_id == one.turn:
                found += self._heard(one, told)
        return found

    def _request(self, job: Job) -> Any:
        options = self._library.RequestOptions()
        options.set_max_session_tokens(len(job.prompt) + job.max_tokens)
        return self._engine.create_request(options=options)

    def _options(self, job: Job, request: Any) -> Any:
        asked, options = job.sampling, self._library.TurnOptions(request)
        options.set_max_generated_tokens(job.max_tokens)
        if job.ignore_end:
            options.set_min_generated_tokens(job.max_tokens)
        options.set_do_sample(asked.temperature > 0)
        if asked.temperature > 0:
            options.set_temperature(asked.temperature)
            options.set_top_k(asked.top_k)
            options.set_top_p(asked.top_p)
            if asked.seed is not None:
                options.set_seed(asked.seed)
        options.set_repetition_penalty(asked.repetition_penalty)
        if job.grammar is not None:
            options.set_guidance(*_guidance(job.grammar))
        return options

    def _heard(self, one: _Running, told: Any) -> list[Event]:
        flags, reasons = self._library.EngineEventFlags, self._library.FinishReason
        chosen: tuple[Chosen, ...] = ()
        if told.flags & flags.TOKEN:
            chosen = (Chosen(int(told.token)),)
            self.tokens += 1
        finish = failed = None
        if told.flags & flags.FAILED:
            failed = f"ONNX Runtime GenAI's engine failed: {told.error_code}"
        elif told.flags & flags.TURN_FINISHED:
            longest = (reasons.MAX_GENERATED_TOKENS, reasons.MAX_SESSION_TOKENS)
            finish = Finish.LENGTH if told.finish_reason in longest else Finish.STOP
        if finish is not None or failed is not None:
            self._end(one)
        elif not chosen:
            return []
        return [Event(one.job.id, chosen, finish, 0, failed)]

    def _end(self, one: _Running) -> None:
        self._running.remove(one)
        one.request.close()


def _lacking(job: Job) -> list[str]:
    asked = job.sampling
    wanted = {
        "logprobs": asked.logprobs is not None,
        "min_p": asked.min_p > 0,
        "frequency_penalty": asked.frequency_penalty != 0,
        "presence_penalty": asked.presence_penalty != 0,
        "logit_bias": bool(asked.logit_bias),
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _guidance(grammar: dict[str, Any]) -> tuple[str, str]:
    """The library's kind and text of a grammar."""
    if "regex" in grammar:
        return "regex", grammar["regex"]
    return "json_schema", json.dumps(grammar.get("json_schema", {"type": "object"}))
