"""Errors in the shape that OpenAI's clients read (API reference, "Errors")."""

from __future__ import annotations

from typing import Any

from .errors import RequestError
from .exchange import Response, dump


def error_body(error: RequestError) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`."""
    kind = "invalid_request_error" if error.status < 500 and error.status != 429 else "server_error"
    return {"error": {"message": str(error), "type": kind, "param": None, "code": error.status}}


def of_error(error: RequestError) -> Response:
    """The whole answer."""
    headers = tuple((key.encode(), text.encode("latin-1")) for key, text in error.headers.items())
    return Response(error.status, dump(error_body(error)), headers=headers)
