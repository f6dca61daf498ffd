"""The log: one JSON object a line on stdout, and never a byte of a request or an answer.

A line of a request holds an id that this server made up, the status, the sizes of the bodies in
bytes and the time that it took. The client's own `id`, its address and the path are left out: they
may say who asked for what.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO


class Journal:
    """Writes lines to a stream; a stream that is gone does not stop the server."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, event: str, **fields: object) -> None:
        """`{"time": …, "event": event, …}`; time is UTC with milliseconds."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": time, "event": event} | fields, separators=(",", ":"))
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    def request(
        self, request_id: str, status: int, bytes_in: int, bytes_out: int, milliseconds: float
    ) -> None:
        """One answered request. 499 stands for a client that left before its answer."""
        self.event(
            "request",
            id=request_id,
            status=status,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            ms=round(milliseconds, 3),
        )

    def take_over(self, logger: logging.Logger) -> None:
        """Bring a library's warnings into this log, without their arguments and tracebacks."""
        logger.handlers = [_Handler(self)]
        logger.setLevel(logging.WARNING)
        logger.propagate = False


class _Handler(logging.Handler):
    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.event("http", message=str(record.msg).strip())
