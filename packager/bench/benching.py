"""A sweep: one step after the other, each with the same question, from the lightest load on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.bench.figures import Step
from packager.bench.load import Bounds, closed, opened
from packager.bench.question import Question, from_file, from_metadata
from packager.bench.server import Server
from packager.errors import UnavailableError
from packager.progress import Progress

KIND = {"apiVersion": "packager/v1", "kind": "LoadRecord"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: a model by samples or made-up numbers, or a `body` sent to a `path`."""

    model: str | None = None
    samples: Path | None = None
    rows: int = 1
    binary: bool = True
    path: str | None = None
    body: Path | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Sweep:
    """The steps: closed loops by number of clients, then open loops by requests a second."""

    clients: Sequence[int]
    rates: Sequence[float]
    bounds: Bounds
    warm_up: float = 1.0
    seed: int = 7


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """The outcome of a sweep; `server` is what it says of itself at `/v2`, or None."""

    url: str
    what: str
    server: Any
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            **KIND,
            "url": self.url,
            "what": self.what,
            "server": self.server,
            "steps": [one.as_dict() for one in self.steps],
        }


def bench(server: Server, asked: Asked, sweep: Sweep, progress: Progress) -> LoadRecord:
    """Load the server step by step. Raises UnavailableError when it does not answer, or when not
    one request of the whole sweep was answered well."""
    return asyncio.run(_bench(server, asked, sweep, progress))


async def _bench(server: Server, asked: Asked, sweep: Sweep, progress: Progress) -> LoadRecord:
    told = await server.document("/v2")
    question = await _question(server, asked)
    progress.step(f"ask {server.url}: {question.what}")
    if sweep.warm_up:
        await closed(server, question, 4, Bounds(sweep.warm_up, patience=sweep.bounds.patience))
    steps: list[Step] = []
    total = len(sweep.clients) + len(sweep.rates)
    try:
        for clients in sorted(sweep.clients):
            progress.advance(f"{clients} client(s)", len(steps), total)
            steps.append(await closed(server, question, clients, sweep.bounds))
        for rate in sorted(sweep.rates):
            progress.advance(f"{rate:g} requests a second", len(steps), total)
            steps.append(await opened(server, question, rate, sweep.bounds, sweep.seed))
    except OSError as error:
        raise UnavailableError(
            "the server takes no connections any more",
            where=server.url,
            got=str(error) or type(error).__name__,
            next_step="fewer --clients, or see the server's log",
        ) from error
    if not any(one.succeeded for one in steps):
        raise UnavailableError(
            "not one request was answered well",
            where=server.url,
            expected="HTTP 200",
            got="; ".join(f"{k}: {v}" for one in steps for k, v in one.failures.items())[:400],
            next_step="ask once by hand and see what it says",
        )
    return LoadRecord(server.url, question.what, told, tuple(steps))


async def _question(server: Server, asked: Asked) -> Question:
    if asked.path and asked.body:
        return from_file(server, asked.path, asked.body, asked.content_type)
    return await from_metadata(server, asked.model, asked.samples, asked.rows, asked.binary)
