"""The ASGI application: which path means what, and nothing about tensors.

`/v2`, `/v2/health/live`, `/v2/health/ready` and `/v2/models/{model}[/versions/{version}]` with
`/ready` and `/infer` (Open Inference Protocol, "HTTP/REST"). Inference runs in worker threads, so
the event loop is free to answer health checks at any load. Every error is `{"error": …}`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from . import VERSION, body
from .configuration import Configuration, HttpSettings
from .errors import RequestError, quoted
from .journal import Journal
from .lifecycle import Lifecycle, Phase, unavailable
from .models import Model, Models
from .responses import dump

Scope = Mapping[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_JSON = "application/json"
_EXTENSIONS = ("binary_tensor_data",)
_CLIENT_GONE = 499


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `quiet` ones (health checks that pass) are not logged."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": _JSON})
    quiet: bool = False

    @classmethod
    def of(cls, value: object, status: int = 200, *, quiet: bool = False) -> Response:
        return cls(status, dump(value), quiet=quiet)

    @classmethod
    def of_error(cls, error: RequestError) -> Response:
        closing = {"connection": "close"} if error.close else {}
        headers = {"content-type": _JSON} | error.headers | closing
        return cls(error.status, dump({"error": str(error)}), headers)


class Application:
    """Answers requests. `models` is empty until the server has loaded and tested them."""

    def __init__(
        self,
        configuration: Configuration,
        http: HttpSettings,
        lifecycle: Lifecycle,
        workers: Executor,
        journal: Journal,
    ) -> None:
        self.models = Models({})
        self._configuration = configuration
        self._limit = http.max_body_bytes
        self._lifecycle = lifecycle
        self._workers = workers
        self._journal = journal
        self._ids = (
            f"{prefix}-{number}" for prefix in [os.urandom(4).hex()] for number in count(1)
        )

    async def __call__(self, scope: Scope, receive: body.Receive, send: Send) -> None:
        began = time.perf_counter()
        request_id = next(self._ids)
        received = _Received(receive)
        try:
            response = await self._answer(scope, received)
        except body.ClientGone:
            self._journal.request(request_id, _CLIENT_GONE, received.size, 0, _since(began))
            return
        except asyncio.CancelledError:
            # Only the end of the time to drain cancels; the client hears of it and can go on.
            self._lifecycle.cut += 1
            response = Response.of_error(unavailable("the server stops"))
        await self._send(send, response, request_id)
        if not response.quiet:
            size = len(response.body)
            self._journal.request(request_id, response.status, received.size, size, _since(began))

    async def _answer(self, scope: Scope, receive: body.Receive) -> Response:
        try:
            return await self._route(scope, receive)
        except RequestError as error:
            return Response.of_error(error)
        except body.ClientGone:
            raise
        except Exception as error:
            # The type says what kind of fault this is; the message might quote a request.
            self._journal.event("fault", kind=type(error).__name__)
            return Response.of_error(RequestError(500, "a fault in the server"))

    async def _route(self, scope: Scope, receive: body.Receive) -> Response:
        match scope["path"].split("/")[1:]:
            case ["v2"] | ["v2", ""]:
                _allow(scope, "GET", "HEAD")
                return Response.of(self._server_metadata())
            case ["v2", "health", "live"]:
                _allow(scope, "GET", "HEAD")
                return Response.of({"live": True}, quiet=True)
            case ["v2", "health", "ready"]:
                _allow(scope, "GET", "HEAD")
                return self._readiness({})
            case ["v2", "models", name, "versions", version, *action]:
                return await self._model(name, version, action, scope, receive)
            case ["v2", "models", name, *action]:
                return await self._model(name, None, action, scope, receive)
            case _:
                raise RequestError(404, f"there is nothing at {quoted(scope['path'])}")

    async def _model(
        self,
        name: str,
        version: str | None,
        action: list[str],
        scope: Scope,
        receive: body.Receive,
    ) -> Response:
        if action not in ([], ["ready"], ["infer"]):
            raise RequestError(404, f"there is nothing at {quoted(scope['path'])}")
        _allow(scope, *(("POST",) if action == ["infer"] else ("GET", "HEAD")))
        self._lifecycle.require_started()
        model = self.models.find(name, version)
        if action == ["infer"]:
            return await self._infer(model, scope, receive)
        if action == ["ready"]:
            return self._readiness({"name": name})
        return Response.of(model.metadata(self.models.versions(name)))

    async def _infer(self, model: Model, scope: Scope, receive: body.Receive) -> Response:
        with self._lifecycle.admitted():
            headers = _headers(scope)
            header_length = _header_length(headers)
            packed = await body.read(receive, headers, self._limit)
            encoding = headers.get(b"content-encoding", b"")
            answer, json_length = await asyncio.get_running_loop().run_in_executor(
                self._workers, model.infer, packed, encoding, header_length, self._limit
            )
        if json_length is None:
            return Response(200, answer)
        return Response(
            200,
            answer,
            {
                "content-type": "application/octet-stream",
                "inference-header-content-length": str(json_length),
            },
        )

    def _readiness(self, also: Mapping[str, object]) -> Response:
        """The protocol wants the status; clients that look at the body find the same there."""
        ready = self._lifecycle.phase is Phase.READY
        return Response.of({**also, "ready": ready}, 200 if ready else 503, quiet=True)

    def _server_metadata(self) -> dict[str, object]:
        """Open Inference Protocol, "Server Metadata", and what this image is."""
        release = self._configuration.release
        return {
            "name": "packager-runtime",
            "version": VERSION,
            "extensions": list(_EXTENSIONS),
            "release": {
                "name": release.name,
                "version": release.version,
                "target": release.target,
            },
            "execution_providers": {
                f"{name}/{version}": model.session.execution_provider
                for name, versions in self.models.by_name.items()
                for version, model in versions.items()
            },
        }

    async def _send(self, send: Send, response: Response, request_id: str) -> None:
        headers = {**response.headers, "content-length": str(len(response.body))}
        if self._lifecycle.phase is Phase.DRAINING:
            # The client shall open its next connection to another replica.
            headers["connection"] = "close"
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        encoded.append((b"x-request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        await send({"type": "http.response.body", "body": response.body})


class _Received:
    """A `receive` that counts the bytes that went through it, for the log."""

    def __init__(self, receive: body.Receive) -> None:
        self._receive = receive
        self.size = 0

    async def __call__(self) -> Mapping[str, Any]:
        message = await self._receive()
        self.size += len(message.get("body", b""))
        return message


def _allow(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        allowed = ", ".join(methods)
        raise RequestError(405, f"the method must be {allowed}", headers={"allow": allowed})


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Header fields by lower-case name; raises RequestError (400) for one that matters twice."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and name in (b"inference-header-content-length", b"content-encoding"):
            raise RequestError(400, f"the header {name.decode()} is given twice")
        headers[name] = value
    return headers


def _header_length(headers: Mapping[bytes, bytes]) -> int | None:
    value = headers.get(b"inference-header-content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 15:
        raise RequestError(400, "Inference-Header-Content-Length must be a number of bytes")
    return int(value)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
