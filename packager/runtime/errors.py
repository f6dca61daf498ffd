"""The two ways in which the runtime says no.

A `Refusal` ends the process before it was ever ready: one line on stderr, and an exit code from
`sysexits.h`, which init systems and container engines show. A `RequestError` ends one request: an
HTTP status and `{"error": …}` as the Open Inference Protocol defines it, or OpenAI below `/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What the process leaves with. `sysexits.h`; 2 is argparse's own for wrong arguments."""

    OK = 0
    INTERRUPTED = 1  # told to stop, but accepted requests did not finish in `drain_seconds`
    DATA = 65  # a file, a signature or an answer is not what was declared
    UNAVAILABLE = 69  # execution provider, address or the disk for records cannot be had here
    SOFTWARE = 70  # a fault of the runtime itself
    CONFIGURATION = 78  # server.json or the site's declaration is wrong


class Refusal(Exception):
    """The server must not start. `str()` is one line that names what differs."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


NO_MEMORY = "there is not enough memory for this request now"


class RequestError(Exception):
    """A request cannot be answered. `str()` goes to the client, never to the log."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.close = close


def openai_error(error: RequestError) -> dict[str, Any]:
    """In the shape that OpenAI's clients read (API reference, "Errors")."""
    kind = "invalid_request_error" if error.status < 500 and error.status != 429 else "server_error"
    return {"error": {"message": str(error), "type": kind, "param": None, "code": error.status}}


def quoted(text: str, limit: int = 80) -> str:
    """A client's text inside a message: escaped, and never longer than `limit` characters."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
