"""The log: one JSON object a line on stdout, and never a byte of a request or an answer.

A line of a request holds an id that this server made up, the status, the sizes of the bodies in
bytes and the time that it took. The client's own `id`, its address and the path are left out: they
may say who asked for what. Where the release declares a class of retention, every line names it.
Lines of requests are gathered for some milliseconds and written by a
thread of their own, so that a collector that stalls never stalls the server; what it cannot take is
counted and told.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from .errors import NO_MEMORY, RequestError

_GATHER_SECONDS = 0.02
_MOST_WAITING = 65536


class Journal:
    """Writes lines to a stream; a stream that is gone does not stop the server."""

    def __init__(self, stream: TextIO, retention: str | None = None) -> None:
        self._stream = stream
        self._tag = {"retention": retention} if retention else {}
        self._tail = f',"retention":{json.dumps(retention)}}}\n' if retention else "}\n"
        self._lines: list[str] = []
        self._lost = 0
        self._second = (0, "")
        self._some = threading.Event()
        self._writing = threading.Lock()
        self._closed = False
        threading.Thread(target=self._write_on, name="journal", daemon=True).start()

    def event(self, event: str, **fields: object) -> None:
        """`{"time": …, "event": event, …}`, written at once; time is UTC with milliseconds."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps(
            {"time": time, "event": event} | fields | self._tag, separators=(",", ":")
        )
        self._lines.append(line + "\n")
        self._flush()

    def fault(self, error: BaseException) -> None:
        """A fault of ours: its type, and where it was raised. Its message might quote a request."""
        at, step = "", error.__traceback__
        while step is not None:
            at = f"{os.path.basename(step.tb_frame.f_code.co_filename)}:{step.tb_lineno}"
            step = step.tb_next
        self.event("fault", kind=type(error).__name__, at=at)

    def broke(self, context: Mapping[str, Any]) -> None:
        """The event loop's word for what nobody has caught (`loop.set_exception_handler`)."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.fault(error)
        else:
            self.event("fault", kind="asyncio")

    def told(self, error: Exception) -> RequestError:
        """What whoever asked hears of an error; a fault of ours leaves a line here."""
        if isinstance(error, RequestError):
            return error
        self.fault(error)
        if isinstance(error, MemoryError):
            return RequestError(503, NO_MEMORY)
        return RequestError(500, "a fault in the server")

    def request(
        self, request_id: str, status: int, bytes_in: int, bytes_out: int, milliseconds: float
    ) -> None:
        """One answered request. 499 stands for a client that left before its answer."""
        if len(self._lines) >= _MOST_WAITING:
            self._lost += 1
            return
        self._lines.append(
            f'{{"time":"{self._now()}","event":"request","id":"{request_id}","status":{status},'
            f'"bytes_in":{bytes_in},"bytes_out":{bytes_out},"ms":{milliseconds:.3f}' + self._tail
        )
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what is left."""
        self._closed = True
        self._some.set()
        self._flush()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((now - second) * 1000):03d}Z"

    def _write_on(self) -> None:
        while not self._closed:
            self._some.wait()
            time.sleep(_GATHER_SECONDS)
            self._some.clear()
            self._flush()

    def _flush(self) -> None:
        with self._writing:
            lines, self._lines = self._lines, []
            lost, self._lost = self._lost, 0
            if lost:
                lines.append(json.dumps({"event": "lines_lost", "count": lost}) + "\n")
            if not lines:
                return
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                return
