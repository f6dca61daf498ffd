"""Traces for a collector of the site, as files: this server opens no connection for them either.

With `PACKAGER_TRACES_DIR` each inference leaves a span there, in lines of OTLP's JSON
(OpenTelemetry Protocol, "JSON Protobuf Encoding" and "OTLP File Exporter"), which an OpenTelemetry
Collector beside it reads (`otlpjsonfile` receiver). So spans go where the site's own collector
sends them, and nowhere without one. A caller's `traceparent` (W3C Trace Context) is kept to: same
trace, its span as parent, and nothing is recorded of what it does not sample. A span has ids, sizes
and times; never a byte of a request, an address or a path.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import VERSION
from .errors import ExitCode, Refusal
from .exchange import Exchange

FOLDER = "PACKAGER_TRACES_DIR"
SHARE = "PACKAGER_TRACES_SHARE"
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_GATHER_SECONDS = 1.0
_MOST_WAITING = 65536
_MOST_BYTES = 16 << 20
_DAY = 86400
_SERVER = 2  # SPAN_KIND_SERVER
_ERROR = 2  # STATUS_CODE_ERROR


class Traces:
    """Writes spans to `traces.jsonl`; the piece before it is `traces-1.jsonl`, and no more is kept:
    neither holds more than 16 MiB or a day. `failed` hears once of a folder that takes no more."""

    def __init__(
        self, folder: Path, resource: Mapping[str, str], share: float, failed: Callable[[str], None]
    ) -> None:
        self._file = folder / "traces.jsonl"
        self._before = folder / "traces-1.jsonl"
        self._resource = {"attributes": [_text(key, value) for key, value in resource.items()]}
        self._share = share
        self._failed = failed
        self._spans: list[dict[str, Any]] = []
        self._random = random.SystemRandom()
        self._offset = time.time_ns() - time.perf_counter_ns()
        self._day = int(time.time()) // _DAY
        self._broken = False
        self._closed = threading.Event()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file.open("ab").close()
        except OSError as error:
            raise Refusal(
                ExitCode.CONFIGURATION, f"{FOLDER}: {folder} cannot be written: {error.strerror}"
            ) from error
        self._thread = threading.Thread(target=self._write_on, name="traces", daemon=True)
        self._thread.start()

    def add(self, exchange: Exchange, name: str, status: int, sent: int) -> None:
        """The span of an exchange that has ended."""
        trace, parent = self._context(exchange.headers.get(b"traceparent", b""))
        if trace is None or len(self._spans) >= _MOST_WAITING:
            return
        route = exchange.route.pattern if exchange.route else exchange.path
        attributes = [
            _text("http.request.method", exchange.method),
            _text("http.route", route),
            _number("http.response.status_code", status),
            _number("http.request.body.size", exchange.received),
            _number("http.response.body.size", sent),
            _text("packager.request.id", name),
        ]
        for key in ("model", "version"):
            if key in exchange.arguments:
                attributes.append(_text(f"packager.model.{key}", exchange.arguments[key]))
        span: dict[str, Any] = {
            "traceId": trace,
            "spanId": f"{self._random.getrandbits(64) or 1:016x}",
            "name": f"{exchange.method} {route}",
            "kind": _SERVER,
            "startTimeUnixNano": str(int(exchange.began * 1e9) + self._offset),
            "endTimeUnixNano": str(time.perf_counter_ns() + self._offset),
            "attributes": attributes,
            "status": {"code": _ERROR} if status >= 500 else {},
        }
        if parent:
            span["parentSpanId"] = parent
        self._spans.append(span)

    def close(self) -> None:
        """Write what is left."""
        self._closed.set()
        self._thread.join()

    def _context(self, header: bytes) -> tuple[str | None, str]:
        """Trace and parent; no trace where this one is not recorded."""
        found = _PARENT.fullmatch(header)
        if found is None or found[1] == b"0" * 32 or found[2] == b"0" * 16:
            if self._share < 1 and self._random.random() >= self._share:
                return None, ""
            return f"{self._random.getrandbits(128) or 1:032x}", ""
        sampled = int(found[3], 16) & 1
        return found[1].decode() if sampled else None, found[2].decode()

    def _write_on(self) -> None:
        last = False
        while not last:
            last = self._closed.wait(_GATHER_SECONDS)
            try:
                self._turn()
                self._flush()
                self._broken = False
            except OSError as error:
                if not self._broken:
                    self._broken = True
                    self._failed(error.strerror or type(error).__name__)

    def _flush(self) -> None:
        spans, self._spans = self._spans, []
        if not spans:
            return
        scope = {"name": "packager-runtime", "version": VERSION}
        line = {
            "resourceSpans": [
                {"resource": self._resource, "scopeSpans": [{"scope": scope, "spans": spans}]}
            ]
        }
        with self._file.open("ab") as stream:
            stream.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def _turn(self) -> None:
        """Begin a new piece when the old one is full, or of another day."""
        day = int(time.time()) // _DAY
        if day != self._day or self._file.stat().st_size > _MOST_BYTES:
            self._day = day
            self._file.replace(self._before)
            self._file.open("ab").close()


def traces_of(
    environment: Mapping[str, str], resource: Mapping[str, str], failed: Callable[[str], None]
) -> Traces | None:
    """What the site asks for; None where it asks for nothing. Raises Refusal."""
    folder = environment.get(FOLDER)
    if not folder:
        return None
    told = environment.get(SHARE, "1")
    try:
        share = float(told)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise Refusal(ExitCode.CONFIGURATION, f"{SHARE} must be from 0 to 1; got {told!r}")
    return Traces(Path(folder), resource, share, failed)


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _number(key: str, value: int) -> dict[str, Any]:
    # 64-bit integers are texts in protobuf's JSON.
    return {"key": key, "value": {"intValue": str(value)}}
