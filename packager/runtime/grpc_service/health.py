"""`grpc.health.v1.Health`. Source: gRPC, "GRPC Health Checking Protocol"."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import RequestError
from ..lifecycle import unavailable
from ..server_routes import ServerRoutes
from .call import Call
from .framing import framed, unframed
from .messages import message
from .status import OPENING

HEALTH = "grpc.health.v1.Health"
_Request = message("grpc.health.v1.HealthCheckRequest")
_Response = message("grpc.health.v1.HealthCheckResponse")
_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3
_WATCH_SECONDS = 0.5


class Health:
    """Check and Watch; those that watch hear of every change until they or the server leave."""

    def __init__(self, routes: ServerRoutes, services: tuple[str, ...], most: int) -> None:
        self._routes = routes
        self._services = ("", *services)
        self._most = most
        self._watching: dict[Call, tuple[str, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def check(self, request: Any) -> Any:
        """Check; raises RequestError (404) for a service that is not here."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            raise RequestError(404, "this server has no such service")
        return _Response(status=status)

    def watch(self, call: Call, data: bytes, decoded: Callable[[Any, bytes], Any]) -> None:
        """Watch: the status now, and each other one when it comes."""
        service = decoded(_Request, unframed(data, call.plan.coding, self._most)).service
        status = self._status(service)
        call.opened = True
        call.on_gone = lambda: self._forget(call)
        self._watching[call] = (service, status)
        call.stream.send(OPENING, _told(status), None)
        self._look_later()

    def close(self) -> None:
        """The server stops."""
        for call in list(self._watching):
            self._forget(call)
            call.fail(unavailable("the server stops"))

    def _look(self) -> None:
        self._timer = None
        for call, (service, told) in list(self._watching.items()):
            status = self._status(service)
            if status != told:
                self._watching[call] = (service, status)
                call.stream.send(None, _told(status), None)
        self._look_later()

    def _look_later(self) -> None:
        if self._watching and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_WATCH_SECONDS, self._look)

    def _forget(self, call: Call) -> None:
        self._watching.pop(call, None)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _UNKNOWN
        return _SERVING if self._routes.ready() else _NOT_SERVING


def _told(status: int) -> bytes:
    return framed([_Response(status=status).SerializeToString()])
