"""The log: one JSON object a line on stdout, and never a byte of a request or an answer.

A line of a request holds an id that this server made up, the status, the sizes of the bodies in
bytes and the time that it took. The client's own `id`, its address and the path are left out: they
may say who asked for what. Where the release declares a class of retention, every line names it.
All lines are written by a thread of their own, so that a collector that stalls
never stalls the server, nor its end; lines of requests are gathered for some milliseconds. What the
collector cannot take is counted and told.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from .errors import NO_MEMORY, RequestError

_GATHER_SECONDS = 0.02
_MOST_WAITING = 65536
# So long a stalled collector keeps a process that is about to end.
_LAST_SECONDS = 1.0


class Journal:
    """Writes lines to a stream; a stream that is gone does not stop the server."""

    def __init__(self, stream: TextIO, retention: str | None = None) -> None:
        self._stream = stream
        self._tag = {"retention": retention} if retention else {}
        self._tail = f',"retention":{json.dumps(retention)}}}\n' if retention else "}\n"
        self._lines: deque[str] = deque()
        self._lost = 0
        self._second = (0, "")
        self._some, self._hurry = threading.Event(), threading.Event()
        self._closed = False
        self._writer = threading.Thread(target=self._write_on, name="journal", daemon=True)
        self._writer.start()

    def event(self, event: str, **fields: object) -> None:
        """`{"time": …, "event": event, …}`, without waiting for more; time is UTC with
        milliseconds."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps(
            {"time": time, "event": event} | fields | self._tag, separators=(",", ":")
        )
        self._add(line + "\n")
        self._hurry.set()
        self._some.set()

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
        self._add(
            f'{{"time":"{self._now()}","event":"request","id":"{request_id}","status":{status},'
            f'"bytes_in":{bytes_in},"bytes_out":{bytes_out},"ms":{milliseconds:.3f}' + self._tail
        )
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what is left, as far as it is taken soon."""
        self._closed = True
        self._hurry.set()
        self._some.set()
        self._writer.join(_LAST_SECONDS)

    def _add(self, line: str) -> None:
        if len(self._lines) < _MOST_WAITING:
            self._lines.append(line)
        else:
            self._lost += 1

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((now - second) * 1000):03d}Z"

    def _write_on(self) -> None:
        while not self._closed:
            self._some.wait()
            self._hurry.wait(_GATHER_SECONDS)
            self._some.clear()
            self._hurry.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        lost, self._lost = self._lost, 0
        if lost:
            lines.append(json.dumps({"event": "lines_lost", "count": lost}) + "\n")
        try:
            self._write("".join(lines).encode())
        except (OSError, ValueError):
            return

    def _write(self, data: bytes) -> None:
        # Not by way of the stream's own buffer: a thread that waits in there keeps the process from
        # its end.
        descriptor, rest = self._stream.fileno(), memoryview(data)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                writable = select.poll()
                writable.register(descriptor, select.POLLOUT)
                writable.poll()
