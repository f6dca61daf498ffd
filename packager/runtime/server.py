"""The process: listen, load, serve, and leave without losing anybody.

The port is open from the start, so that a liveness check sees a process that is alive while a large
model loads; readiness comes last. On SIGTERM (or SIGINT) readiness goes first. New requests are
still served, each with `Connection: close`, until nobody has asked for half a second (or half of
`drain_seconds` is over), because routers learn of an endpoint's end with a delay. Then the listener
closes, what was accepted is finished, and the process leaves with 0. A second signal makes haste.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from .access import Access
from .application import Application
from .checking_ahead import Contents
from .configuration import Configuration
from .dumps import forbid_dumps
from .errors import ExitCode, Refusal
from .event_loop import EventLoop
from .extensions import Extensions
from .figures import Figures
from .housekeeping import Housekeeping
from .http_settings import HttpSettings
from .huge_pages import use_huge_pages
from .inference import Inference
from .journal import Journal
from .lifecycle import Lifecycle, Phase
from .listening import Connections, listen, listening
from .memory import Growth, allowed, bound
from .metrics import MetricsPage
from .model_list import ModelList
from .models import Models, load_all
from .optional_features import generation_of, on_demand, records_of, traces_of_run
from .routes import Handler, Kind, Routes
from .server_routes import ServerRoutes
from .settling import settle
from .signals import Signals
from .tls import Tls

Checked = Sequence[Callable[[], Contents]]
_QUIET_SECONDS = 0.5
_LAST_WORDS_SECONDS = 0.5
# A thread that comes back from an inference wants the interpreter at once; Python's 5 ms are long.
_SWITCH_SECONDS = 0.0005


def run(configuration: Configuration, http: HttpSettings, checked: Checked = ()) -> ExitCode:
    """Serve until told to stop; raises Refusal when the server must not become ready."""
    forbid_dumps()
    sys.setswitchinterval(_SWITCH_SECONDS)
    journal = Journal(sys.stdout, configuration.records.retention)
    try:
        with listening(http) as listener, asyncio.Runner(loop_factory=EventLoop) as runner:
            return runner.run(_serve(configuration, http, journal, listener, checked))
    finally:
        journal.close()


async def _serve(
    configuration: Configuration,
    http: HttpSettings,
    journal: Journal,
    listener: socket.socket,
    checked: Checked,
) -> ExitCode:
    return await _Service(configuration, http, journal).run(listener, checked)


class _Service:
    """One run of the server, from the open port to the exit code."""

    def __init__(self, configuration: Configuration, http: HttpSettings, journal: Journal) -> None:
        self._configuration = configuration
        self._http = http
        self._journal = journal
        self._lifecycle = Lifecycle(http.max_concurrency)
        self._helpers = ThreadPoolExecutor(2, "helper")
        self._server_routes = ServerRoutes(configuration, self._lifecycle)
        self._generation = generation_of(configuration, self._lifecycle, journal, self._helpers)
        routes = Routes()
        self._access = Access(configuration.access)
        self._tls = Tls(configuration.access)
        self._records = records_of(configuration)
        self._traces = traces_of_run(configuration, journal)
        self._connections = Connections(http.limits)
        figures = Figures(self._lifecycle, self._connections, self._models)
        self._register(routes, figures)
        self._application = Application(
            routes,
            http,
            self._lifecycle,
            journal,
            self._access,
            figures,
            self._records,
            self._traces,
        )
        self._signals = Signals()

    def _models(self) -> Models:
        return self._server_routes.models

    def _register(self, routes: Routes, figures: Figures) -> None:
        """Every feature enters its paths."""
        listed = ModelList()
        if self._generation is not None:
            self._generation.register(routes)
            listed.sources.append(self._generation.listed)
            figures.sources.append(self._generation.figures)
            self._lifecycle.conditions.append(self._generation.ready)
        limit, told = self._http.max_body_bytes, self._journal.told
        inference = Inference(self._models, limit, self._helpers, told)
        self._server_routes.register(routes, inference)
        self._extensions = Extensions(self._models, self._lifecycle)
        self._extensions.register(routes)
        tasks = {model.serving.task for model in self._configuration.models if model.serving}
        if tasks:
            from .meaning import Meaning

            meaning = Meaning(self._models, self._lifecycle, limit, self._helpers)
            meaning.register(routes, tasks)
            listed.sources.append(meaning.listed)
        listed.register(routes)
        routes.add("GET", "/metrics", MetricsPage(figures), Kind.METADATA)
        page = on_demand(lambda: self._status_page(figures))
        routes.add("GET", "/", page, Kind.METADATA)
        description = on_demand(lambda: self._openapi(routes))
        routes.add("GET", "/openapi.json", description, Kind.METADATA)

    def _status_page(self, figures: Figures) -> Handler:
        from .status_page import StatusPage

        return StatusPage(self._configuration, figures)

    def _openapi(self, routes: Routes) -> Handler:
        from .openapi import OpenApi

        return OpenApi(routes, self._models, self._access)

    async def run(self, listener: socket.socket, checked: Checked) -> ExitCode:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._journal.broke(context))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signals.put, number)
        server = await listen(
            listener, self._application, self._connections, self._tls.context("http/1.1")
        )
        remote, told = await self._listen_for_grpc()
        try:
            models = await self._load(checked)
            models.start(loop)
            self._server_routes.models = models
            self._lifecycle.phase = Phase.READY
            host, port = listener.getsockname()[:2]
            for line in models.batching_refused(self._configuration.models):
                self._journal.event("batching_off", model=line)
            for line in models.graphs_refused(self._configuration.models):
                self._journal.event("cuda_graphs_off", model=line)
            self._journal.event("ready", host=host, port=port, **told)
            self._record_start()
            loop.call_soon(self._settle)
            keeping = asyncio.create_task(self._housekeeping(models).run(models))
            received = await self._signals.get()
            await self._drain(received, server, remote)
            keeping.cancel()
        finally:
            server.close()
            if remote is not None:
                remote.close()
        return await self._leave()

    def _settle(self) -> None:
        settle()
        if self._configuration.models:
            self._helpers.submit(use_huge_pages)

    async def _listen_for_grpc(self) -> tuple[Any, dict[str, int]]:
        """The gRPC server and its port, in images that carry what it needs."""
        if self._configuration.grpc_port is None:
            return None, {}
        try:
            from .grpc_service import listening as remote_listening
            from .grpc_service.service import Service
        except ImportError as error:
            raise Refusal(
                ExitCode.CONFIGURATION, f"server.json asks for gRPC, but {error.name} is missing"
            ) from error
        service = Service(
            self._application,
            self._server_routes,
            self._extensions,
            self._models,
            self._helpers,
            self._http.max_body_bytes,
            self._journal.told,
        )
        server = await remote_listening.listen(
            service,
            self._configuration.grpc_port,
            self._http,
            self._connections,
            self._tls.context("h2"),
        )
        return server, {"grpc_port": server.port}

    def _housekeeping(self, models: Models) -> Housekeeping:
        # An accelerator's libraries reserve addresses as they like, and memory of their own.
        on_cpu = all(model.session.on_cpu for model in models.all())
        return Housekeeping(
            self._configuration.folder,
            self._lifecycle,
            self._journal,
            self._access,
            self._tls,
            self._records,
            self._helpers,
            Growth(bound(allowed()) if on_cpu else None),
        )

    def _record_start(self) -> None:
        if self._records is None:
            return
        release = self._configuration.release
        self._records.event(
            "started",
            release=f"{release.name} {release.version}",
            target=release.target,
            region=os.environ.get("PACKAGER_REGION"),
            models={
                f"{model.settings.name}/{model.settings.version}": {
                    file.path: file.sha256 for file in model.settings.files
                }
                for model in self._models().all()
            },
        )
        self._records.flush()

    async def _load(self, checked: Checked) -> Models:
        """The models, loaded in a thread; a signal meanwhile ends the process at once."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.ensure_future(self._signals.get())
        loading = loop.run_in_executor(
            self._helpers, load_all, self._configuration.folder, self._configuration.models, checked
        )
        await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            # Nothing was accepted yet, and a thread inside ONNX Runtime cannot be interrupted.
            self._gone_before_ready()
        models = loading.result()
        if self._generation is not None:
            starting = asyncio.ensure_future(self._generation.start())
            await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                # The workers leave when our end of their channel is gone.
                self._gone_before_ready()
            starting.result()
        stopped.cancel()
        return models

    def _gone_before_ready(self) -> NoReturn:
        self._journal.event("stopped", cut=0)
        self._journal.close()
        os._exit(ExitCode.OK)

    async def _drain(self, received: signal.Signals, server: asyncio.Server, remote: Any) -> None:
        self._lifecycle.phase = Phase.DRAINING
        self._lifecycle.quiet_since = time.monotonic()
        self._journal.event("draining", signal=received.name, in_hand=self._lifecycle.in_hand)
        deadline = time.monotonic() + self._http.drain_seconds
        accepting_until = deadline - self._http.drain_seconds / 2
        while time.monotonic() < accepting_until and self._signals.empty():
            if self._lifecycle.quiet_for() >= _QUIET_SECONDS:
                break
            await asyncio.sleep(0.02)
        server.close()
        if remote is not None:
            remote.close()
        while self._lifecycle.busy and time.monotonic() < deadline and self._signals.empty():
            await asyncio.sleep(0.01)
        self._connections.close_idle()

    async def _leave(self) -> ExitCode:
        """The end. Whoever still waits is told; what was written gets its moment to be sent."""
        self._application.cut(self._connections.in_hand())
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while len(self._connections) and time.monotonic() < deadline:
            self._connections.close_idle()
            await asyncio.sleep(0.01)
        cut, code = self._lifecycle.cut, ExitCode.OK
        if self._traces is not None:
            self._traces.close()
        if self._records is not None:
            self._records.event("stopped", cut=cut)
            try:
                self._records.close()
            except OSError as error:
                self._journal.event("records_failed", why=error.strerror)
                code = ExitCode.UNAVAILABLE
        self._journal.event("stopped", cut=cut)
        if cut:
            # Their threads may be busy for long; joining them would break the promised time.
            self._journal.close()
            os._exit(ExitCode.INTERRUPTED)
        self._connections.abort()
        if self._generation is not None:
            await self._generation.stop()
        self._server_routes.models.stop()
        self._helpers.shutdown()
        return code
