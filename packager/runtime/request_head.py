"""The head of one request while it comes in, within bounds on its bytes and fields."""

from __future__ import annotations

from .errors import RequestError
from .exchange import Headers
from .wire import ONCE

_MOST_FIELDS = 100


class RequestHead:
    """Target and fields, by lower-case name; `size` is what was read of the head so far."""

    __slots__ = ("_most", "count", "fields", "size", "twice", "url")

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0
        self.count = 0
        self.url = b""
        self.fields: Headers = {}
        self.twice: bytes | None = None

    def grown(self, size: int) -> bool:
        """Whether the head is still small enough after `size` more bytes."""
        self.size += size
        return self.size <= self._most

    def add_url(self, part: bytes) -> None:
        """Raises RequestError (431)."""
        self.url += part
        if len(self.url) > self._most:
            raise RequestError(431, "the head of the request is too large")

    def add_field(self, name: bytes, value: bytes) -> None:
        """Raises RequestError (431)."""
        name = name.lower()
        if name in self.fields and name in ONCE:
            self.twice = name
        self.fields[name] = value
        self.count_field()

    def count_field(self) -> None:
        """Raises RequestError (431)."""
        self.count += 1
        if self.count > _MOST_FIELDS:
            raise RequestError(431, f"the request has more than {_MOST_FIELDS} header fields")

    def require_clear(self) -> None:
        """Raises RequestError (400) for a field that stands twice where that is dangerous."""
        if self.twice:
            raise RequestError(400, f"the header {self.twice.decode('latin-1')} is given twice")

    def has_body(self) -> bool:
        return (
            self.fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.fields
        )

    def expects_continue(self) -> bool:
        return self.fields.get(b"expect", b"").lower() == b"100-continue"
