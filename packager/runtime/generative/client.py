"""The server's side of the worker: start it, hand it requests, pass on tokens, notice its death.

A worker that dies takes nobody's answer in silence: every request that it had is told, the server
leaves rotation, a new worker is started, and after too many deaths the server gives up, so that
whoever watches it can start another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from ..errors import ExitCode, Refusal, RequestError
from ..lifecycle import unavailable
from .channel import MOST_LINE, packed
from .child import spawn
from .settings import GenerativeSettings

_RESTARTS = 3
_FORGIVEN_SECONDS = 600.0
_LEAVING_SECONDS = 5.0


@dataclass
class Stats:
    """What the worker said last about itself."""

    values: dict[str, float] = field(default_factory=dict)
    restarts: int = 0


class Stream:
    """The tokens of one request as they come."""

    def __init__(self, tenant: str, cancel: Callable[[], None]) -> None:
        self.tenant = tenant
        self.begun = False
        self._queue: asyncio.Queue[dict[str, Any] | RequestError] = asyncio.Queue()
        self._cancel = cancel
        self.done = False

    def put(self, message: dict[str, Any] | RequestError) -> None:
        self._queue.put_nowait(message)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Messages until the last one; raises RequestError when there will be no last one."""
        while True:
            message = await self._queue.get()
            if isinstance(message, RequestError):
                self.done = True
                raise message
            if "finish" in message:
                self.done = True
            yield message
            if self.done:
                return

    def close(self) -> None:
        """Nobody wants the rest."""
        if not self.done:
            self.done = True
            self._cancel()


class Worker:
    """One worker process, and the next one when it dies."""

    def __init__(
        self, configuration: Path, settings: GenerativeSettings, died: Callable[[str], None]
    ) -> None:
        self._configuration = configuration
        self._settings = settings
        self._died = died
        self._numbers = count(1)
        self._streams: dict[int, Stream] = {}
        self._deaths: list[float] = []
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._leaving = False
        self.ready = False
        self.hopeless = False
        self.stats = Stats()

    @property
    def in_hand(self) -> int:
        return len(self._streams)

    async def start(self) -> None:
        """Start and wait until the model is loaded and tested; raises Refusal."""
        reader = await self._spawn()
        line = await reader.readline()
        first = orjson.loads(line) if line else {}
        if "ready" not in first:
            await self._ended()
            raise Refusal(
                ExitCode(first.get("code", ExitCode.SOFTWARE)),
                first.get("refused", f"{self._settings}: the worker ended before it was ready"),
            )
        self.ready = True
        self._reading = asyncio.create_task(self._read(reader))

    async def _spawn(self) -> asyncio.StreamReader:
        arguments = (str(self._configuration), self._settings.name)
        self._process, ours = await spawn("worker", *arguments)
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MOST_LINE)
        return reader

    def submit(self, message: dict[str, Any]) -> Stream:
        """Hand a request to the worker; raises RequestError: 503 when there is none, 429 when the
        queue is full and not mostly somebody else's."""
        if not self.ready or self._writer is None:
            raise unavailable("the model is being started again")
        if len(self._streams) >= self._settings.slots + self._settings.max_queue_size:
            self._make_room(message["tenant"])
        number = next(self._numbers)
        stream = Stream(message["tenant"], lambda: self._cancel(number))
        self._streams[number] = stream
        self._writer.write(packed({"submit": number, **message}))
        return stream

    def _make_room(self, tenant: str) -> None:
        """The last one of whoever has most gives way to a caller who has less; raises RequestError
        (429) when that would only change who is refused."""
        held: dict[str, list[int]] = {}
        for number, stream in self._streams.items():
            held.setdefault(stream.tenant, []).append(number)
        most = max(held.values(), key=len)
        waiting = [number for number in most if not self._streams[number].begun]
        if not waiting or len(most) <= len(held.get(tenant, ())) + 1:
            raise unavailable("the queue is full", status=429)
        last = self._streams[waiting[-1]]
        self._cancel(waiting[-1])
        last.put(unavailable("the queue is full, and most of it is yours", status=429))

    def _cancel(self, number: int) -> None:
        if self._streams.pop(number, None) is not None and self._writer is not None:
            self._writer.write(packed({"cancel": number}))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except (ConnectionError, ValueError):
                line = b""
            if not line:
                break
            self._take(orjson.loads(line))
        if not self._leaving:
            await self._again()

    def _take(self, message: dict[str, Any]) -> None:
        if "stats" in message:
            self.stats.values = message["stats"]
            return
        stream = self._streams.get(message["id"])
        if stream is None:
            return
        if "error" in message:
            del self._streams[message["id"]]
            stream.put(RequestError(400, message["error"]))
            return
        if "failed" in message:
            del self._streams[message["id"]]
            stream.put(unavailable(message["failed"]))
            return
        if "finish" in message:
            del self._streams[message["id"]]
        stream.begun = True
        stream.put(message)

    async def _again(self) -> None:
        """The worker is gone: tell everybody, and start another one."""
        self.ready = False
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.put(unavailable("the model stopped while it answered"))
        code = await self._ended()
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < _FORGIVEN_SECONDS] + [now]
        self._died(f"exit status {code}")
        if len(self._deaths) > _RESTARTS:
            self.hopeless = True
            return
        self.stats.restarts += 1
        try:
            await self.start()
        except Refusal:
            self.hopeless = True

    async def _ended(self) -> int | None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._process is None:
            return None
        try:
            return await asyncio.wait_for(self._process.wait(), _LEAVING_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def stop(self) -> None:
        """Close the channel; the worker leaves by itself, or is ended."""
        self._leaving = True
        self.ready = False
        await self._ended()
        if self._reading is not None:
            self._reading.cancel()
