"""The process: listen, load, serve, and leave without losing anybody.

The port is open from the start, so that a liveness check sees a process that is alive while a large
model loads; readiness comes last. On SIGTERM (or SIGINT) readiness goes first. New requests are
still served, each with `Connection: close`, until nobody has asked for half a second (or half of
`drain_seconds` is over), because routers learn of an endpoint's end with a delay. Then the listener
closes, what was accepted is finished, and the process leaves with 0. A second signal makes haste.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import uvicorn

from .application import Application
from .configuration import Configuration, HttpSettings
from .errors import ExitCode, Refusal
from .journal import Journal
from .lifecycle import Lifecycle, Phase
from .models import Models, load_all

_QUIET_SECONDS = 0.5
_LAST_WORDS_SECONDS = 0.5
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_MOST_WORKERS = 8


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(configuration: Configuration, http: HttpSettings) -> ExitCode:
    """Serve until told to stop; raises Refusal when the server must not become ready."""
    journal = Journal(sys.stdout)
    journal.take_over(logging.getLogger("uvicorn"))
    with _listening(http) as listener:
        return asyncio.run(_Service(configuration, http, journal).run(listener))


class _Service:
    """One run of the server, from the open port to the exit code."""

    def __init__(self, configuration: Configuration, http: HttpSettings, journal: Journal) -> None:
        self._configuration = configuration
        self._http = http
        self._journal = journal
        self._lifecycle = Lifecycle(http.max_concurrency)
        self._workers = ThreadPoolExecutor(_worker_count(configuration), "inference")
        self._application = Application(
            configuration, http, self._lifecycle, self._workers, journal
        )
        self._server = _Uvicorn(_uvicorn_settings(self._application))
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()

    async def run(self, listener: socket.socket) -> ExitCode:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        try:
            self._application.models = await self._load()
            self._lifecycle.phase = Phase.READY
            host, port = listener.getsockname()[:2]
            self._journal.event("ready", host=host, port=port)
            received = await self._signals.get()
            await self._drain(received)
        finally:
            self._server.should_exit = True
            await serving
        return await self._leave()

    async def _load(self) -> Models:
        """The models, loaded in a thread; a signal meanwhile ends the process at once."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.ensure_future(self._signals.get())
        loading = loop.run_in_executor(
            self._workers, load_all, self._configuration.folder, self._configuration.models
        )
        await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            # Nothing was accepted yet, and a thread inside ONNX Runtime cannot be interrupted.
            self._journal.event("stopped", cut=0)
            os._exit(ExitCode.OK)
        stopped.cancel()
        return loading.result()

    async def _drain(self, received: signal.Signals) -> None:
        self._lifecycle.phase = Phase.DRAINING
        self._lifecycle.quiet_since = time.monotonic()
        self._journal.event("draining", signal=received.name, in_hand=self._lifecycle.in_hand)
        deadline = time.monotonic() + self._http.drain_seconds
        accepting_until = deadline - self._http.drain_seconds / 2
        while time.monotonic() < accepting_until and self._signals.empty():
            if self._lifecycle.quiet_for() >= _QUIET_SECONDS:
                break
            await asyncio.sleep(0.02)
        left = max(0.0, deadline - time.monotonic()) if self._signals.empty() else 0.0
        # uvicorn reads this when it shuts down; it takes fractions of a second as well.
        self._server.config.timeout_graceful_shutdown = left  # type: ignore[assignment]

    async def _leave(self) -> ExitCode:
        """The end. Requests that uvicorn has just cancelled get their moment to say so."""
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while self._lifecycle.in_hand and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        cut = self._lifecycle.cut
        self._journal.event("stopped", cut=cut)
        if cut:
            # Their threads may be busy for long; joining them would break the promised time.
            os._exit(ExitCode.INTERRUPTED)
        self._workers.shutdown()
        return ExitCode.OK


def _uvicorn_settings(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        interface="asgi3",
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        backlog=_BACKLOG,
    )


@contextmanager
def _listening(http: HttpSettings) -> Iterator[socket.socket]:
    """An open socket. It is made from an address, so that no resolver is ever asked."""
    address = ipaddress.ip_address(http.host)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it, Nagle's
    # algorithm and delayed acknowledgements cost 40 ms a request.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((http.host, http.port))
            listener.listen(_BACKLOG)
        except OSError as error:
            raise Refusal(
                ExitCode.UNAVAILABLE,
                f"cannot listen on {http.host} port {http.port}: {error.strerror}",
            ) from error
        yield listener


def _worker_count(configuration: Configuration) -> int:
    """Threads that run inferences: as many as the sessions' own threads leave cores for.

    Never fewer than two, so that reading one request overlaps with computing another.
    """
    cores = len(os.sched_getaffinity(0))
    threads = max(model.intra_op_threads for model in configuration.models) or cores
    return min(_MOST_WORKERS, max(2, cores // threads))
