"""The bytes around an HTTP/1.1 message: a request's target taken apart, an answer's head made.

Sources: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import time

import httptools

from .exchange import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
# Fields of which a second one would leave two readers with two requests.
ONCE = (b"inference-header-content-length", b"content-encoding", b"content-length", b"host")
_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (
    *(b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun"),
    *(b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
)
# Of what this server answers (RFC 9110, section 15, RFC 6585); `http.HTTPStatus` has them all, and
# takes a millisecond to make.
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


def answer_head(
    response: Response, *, request_id: str, date_line: bytes, keep: bool, size: int | None
) -> bytes:
    """Status line and fields. `size` is the body's, None for one that is sent in chunks."""
    status = response.status
    parts = [
        b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n"
        % (status, _REASONS.get(status, b"Unknown"), response.content_type),
        b"transfer-encoding: chunked\r\n" if size is None else b"content-length: %d\r\n" % size,
        b"x-request-id: %b\r\n" % request_id.encode(),
        date_line,
    ]
    if response.json_length is not None:
        parts.append(b"inference-header-content-length: %d\r\n" % response.json_length)
    parts.extend(b"%b: %b\r\n" % field for field in response.headers)
    if not keep:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def chunk_of(data: bytes) -> bytes:
    """One piece of a chunked body; `data` has at least a byte."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def target_of(url: bytes) -> tuple[str, bytes]:
    """Path, decoded, and query of a request target (RFC 9112, section 3.2)."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return url.decode("latin-1"), b""
        path, query = parsed.path or b"/", parsed.query or b""
    else:
        path, _, query = url.partition(b"?")
    text = path.decode("latin-1")
    if "%" in text:
        # Seldom; it takes 4 ms to load.
        from urllib.parse import unquote

        text = unquote(text)
    return text, query


def http_date(seconds: float) -> bytes:
    """A date as HTTP writes it (RFC 9110, section 5.6.7), in English wherever the server runs."""
    at = time.gmtime(seconds)
    clock = b"%02d:%02d:%02d" % (at.tm_hour, at.tm_min, at.tm_sec)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return b"%b, %02d %b %04d %b GMT" % (day, at.tm_mday, month, at.tm_year, clock)
