"""What happens to every request, whatever it is about: routing, access, admission, journal.

The head of a request is enough to refuse it: unknown path, wrong method, no right, no place free.
Only then is its body read and handed to the handler that a feature registered in the table of
routes. Every error is `{"error": …}`, and every answer leaves a line in the journal and in the
figures.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any

from .access import Access
from .exchange import CLIENT_GONE, Exchange, Response
from .figures import Figures
from .http_settings import HttpSettings
from .journal import Journal
from .lifecycle import Lifecycle, Phase, unavailable
from .routes import Kind, Routes

if TYPE_CHECKING:
    from .records import Records
    from .traces import Traces


class Application:
    """The service behind every connection (see `answering.Service`)."""

    def __init__(
        self,
        routes: Routes,
        http: HttpSettings,
        lifecycle: Lifecycle,
        journal: Journal,
        access: Access,
        figures: Figures,
        records: Records | None = None,
        traces: Traces | None = None,
    ) -> None:
        self.routes = routes
        self._access = access
        self._figures = figures
        self._records = records
        self._traces = traces
        self._most = http.limits.max_body_bytes
        self._lifecycle = lifecycle
        self._journal = journal
        self._prefix = os.urandom(4).hex()
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, exchange: Exchange) -> int:
        """The head is complete: the most bytes that the body may have; raises RequestError."""
        route, exchange.arguments = self.routes.find(exchange.path)
        exchange.route = route
        route.handler(exchange.method)
        return self.announce(exchange, route.kind)

    def announce(self, exchange: Exchange, kind: Kind) -> int:
        """Access, and admission to being read, whatever carries the request: the most bytes that it
        may have; raises RequestError."""
        exchange.id = f"{self._prefix}-{next(self._numbers)}"
        self._access.check(exchange, kind)
        if kind is Kind.INFERENCE:
            self._lifecycle.announce()
            exchange.arriving = True
        return self._most

    def enter(self, exchange: Exchange) -> None:
        """The request is complete: it takes the place that it needs; raises RequestError."""
        if exchange.arriving:
            self._arrived(exchange)
            self._lifecycle.enter()
            exchange.admitted = True

    def handle(self, exchange: Exchange) -> None:
        """Answer a complete request, now or later."""
        route = exchange.route or self.routes.find(exchange.path)[0]
        try:
            self.enter(exchange)
            answer = route.handler(exchange.method)(exchange)
        except Exception as error:
            exchange.reply(self._of_exception(exchange, error))
            return
        if isinstance(answer, Response):
            exchange.reply(answer)
        elif answer is not None:
            task = asyncio.get_running_loop().create_task(self._await(exchange, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if exchange.on_gone is None:
                exchange.on_gone = lambda: _cancel(task)

    async def _await(
        self, exchange: Exchange, answer: Coroutine[Any, Any, Response | None]
    ) -> None:
        try:
            response = await answer
        except Exception as error:
            response = self._of_exception(exchange, error)
        if response is not None:
            exchange.reply(response)

    def _of_exception(self, exchange: Exchange, error: Exception) -> Response:
        return Response.of_error(self._journal.told(error), exchange.path)

    def finished(self, exchange: Exchange, response: Response | None, sent: int) -> None:
        """Answered with `sent` bytes of body; None: the client left before."""
        status = CLIENT_GONE if response is None else response.status
        route = exchange.route
        self.leave(exchange, Kind.METADATA if route is None else route.kind, status, sent)

    def leave(self, exchange: Exchange, kind: Kind, status: int, sent: int) -> None:
        """The end of a request, whatever carried it: place, figures, journal, record."""
        # What waits for the client to leave holds the exchange: let go of here, both are free at
        # once, and the garbage collector has nothing to look for.
        exchange.on_gone = None
        if exchange.arriving:
            self._arrived(exchange)
        if exchange.admitted:
            exchange.admitted = False
            self._lifecycle.leave()
        self._figures.answered(status)
        if kind is Kind.HEALTH and status in (200, 503):
            return
        milliseconds = (time.perf_counter() - exchange.began) * 1000
        name = exchange.id or f"{self._prefix}-{next(self._numbers)}"
        self._journal.request(name, status, exchange.received, sent, milliseconds)
        if self._traces is not None and kind is Kind.INFERENCE:
            self._traces.add(exchange, name, status, sent)
        if self._records is not None and kind is Kind.INFERENCE:
            self._records.event(
                "inference",
                id=name,
                status=status,
                caller=exchange.principal,
                **{key: exchange.arguments[key] for key in sorted(exchange.arguments)},
                bytes_in=exchange.received,
                bytes_out=sent,
                ms=round(milliseconds, 3),
            )

    def _arrived(self, exchange: Exchange) -> None:
        exchange.arriving = False
        self._lifecycle.arrived()

    def closing(self) -> bool:
        """The client shall open its next connection to another replica."""
        return self._lifecycle.phase is Phase.DRAINING

    def cut(self, exchanges: list[Exchange]) -> None:
        """The time to drain is over: whoever still waits hears of it and can go on elsewhere."""
        for exchange in exchanges:
            self._lifecycle.cut += 1
            exchange.fail(unavailable("the server stops"))


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
