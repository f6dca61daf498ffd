"""The process that owns the model: `python -m packager_runtime.generative.worker FD CONFIG NAME`.

It checks every file and the golden answer before it says that it is ready, and then steps the
engine as long as anybody waits for tokens. Telemetry is off before ONNX Runtime is imported, as in
the server. It ends when the server's end of the channel does, so no worker ever outlives its
server.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from .. import configuration, integrity
from ..dumps import forbid_dumps
from ..errors import ExitCode, Refusal
from ..memory import unbound
from ..settling import settle
from .channel import Channel
from .constraints import Constraints
from .jobs import Event, Job, TextEngine
from .making import build_engine
from .sampling import SamplingSettings
from .settings import EngineKind, GenerativeSettings

BEAT_SECONDS = 1.0


def main(arguments: list[str]) -> int:
    """Serve one server until it leaves; the exit code says what was refused."""
    forbid_dumps()
    unbound()
    # The terminal's Ctrl-C reaches every process of its group; the server tells us when to leave.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    try:
        settings = _settings(Path(arguments[1]), arguments[2])
        folder = Path(arguments[1]).resolve().parent
        worker = _Worker(channel, folder, settings)
    except Refusal as refusal:
        channel.send({"refused": str(refusal), "code": int(refusal.code)})
        return int(refusal.code)
    worker.run()
    return 0


def _settings(path: Path, name: str) -> GenerativeSettings:
    loaded = configuration.load(path)
    found = [settings for settings in loaded.generative if settings.name == name]
    if not found:
        raise Refusal(ExitCode.CONFIGURATION, f"server.json has no generative model {name!r}")
    return found[0]


def self_test(engine: TextEngine, golden: bytes) -> None:
    """The known answer, greedily, alone and with company; raises Refusal when it is another one."""
    try:
        cases = orjson.loads(golden)["cases"]
        jobs = [
            Job(-1 - number, tuple(case["prompt"]), len(case["answer"]), ignore_end=True)
            for number, case in enumerate(cases)
        ]
        expected = {job.id: case["answer"] for job, case in zip(jobs, cases, strict=True)}
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(ExitCode.DATA, "the golden answers cannot be read") from error
    answers: dict[int, list[int]] = {job.id: [] for job in jobs}
    for job in jobs:
        engine.submit(job)
    while engine.busy:
        for event in engine.step():
            answers[event.job].extend(chosen.token for chosen in event.chosen)
    if answers != expected:
        raise Refusal(ExitCode.DATA, "the golden self-test gives another answer than it must")


class _Worker:
    def __init__(self, channel: Channel, folder: Path, settings: GenerativeSettings) -> None:
        self._channel = channel
        contents = integrity.verified(folder, settings, hold_graph=False)
        self._engine = build_engine(folder, settings)
        if settings.golden:
            self_test(self._engine, contents[settings.golden.path])
        self._constraints: Constraints | None = None
        if settings.engine is not EngineKind.LIBRARY:
            self._constraints = Constraints(folder / settings.tokenizer, settings)
        self._beaten = 0.0
        settle()
        channel.send({"ready": settings.execution_provider})

    def run(self) -> None:
        """Until the channel closes."""
        engine = self._engine
        while not self._channel.closed:
            message = self._channel.receive(wait=not engine.busy)
            while message is not None:
                self._obey(message)
                message = self._channel.receive(wait=False)
            if engine.busy:
                self._tell(engine.step())
            self._beat()

    def _obey(self, message: dict[str, Any]) -> None:
        if "cancel" in message:
            self._engine.cancel(message["cancel"])
            self._beaten = 0.0
            return
        job, grammar = message["submit"], message.get("grammar")
        try:
            sampling = dict(message["sampling"])
            bias = {int(token): value for token, value in sampling.pop("logit_bias", {}).items()}
            self._engine.submit(
                Job(
                    job,
                    tuple(message["prompt"]),
                    message["max_tokens"],
                    SamplingSettings(**sampling, logit_bias=bias),
                    message["tenant"],
                    self._constraints.make(grammar) if self._constraints else None,
                    message.get("ignore_end", False),
                    grammar,
                )
            )
        except ValueError as error:
            self._channel.send({"id": job, "error": str(error)})

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if event.failed is not None:
                self._channel.send({"id": event.job, "failed": event.failed})
                continue
            message: dict[str, Any] = {
                "id": event.job,
                "tokens": [chosen.token for chosen in event.chosen],
                "cached": event.cached,
            }
            if any(chosen.logprob is not None for chosen in event.chosen):
                message["logprobs"] = [[chosen.logprob, chosen.top] for chosen in event.chosen]
            if event.finish is not None:
                message["finish"] = event.finish.value
            self._channel.send(message)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beaten < BEAT_SECONDS and self._engine.busy:
            return
        self._beaten = now
        self._channel.send({"stats": self._engine.stats()})


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
