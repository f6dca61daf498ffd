"""A head that llhttp has read before is not read again.

A client that keeps its connection sends the same head with every request, but for the length of the
body. The same bytes in the same state of the parser mean the same, so the parser is only asked
about heads that differ from the last one on their connection.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from .exchange import Exchange

_END = b"\r\n\r\n"
_LONGEST = 2048


class KnownHead:
    """The bytes of a head and what they mean; `size` bytes of body follow. Never changed."""

    __slots__ = ("__weakref__", "fields", "head", "method", "path", "query", "size")

    def __init__(self, head: bytes, exchange: Exchange, size: int) -> None:
        self.head = head
        self.method = exchange.method
        self.path = exchange.path
        self.query = exchange.query
        self.fields = exchange.headers
        self.size = size

    def begins(self, data: bytes) -> bool:
        """Whether `data` is this head with its whole body, and nothing else."""
        return len(data) == len(self.head) + self.size and data.startswith(self.head)


class KnownHeads:
    """The last heads of all connections, each held once."""

    def __init__(self) -> None:
        self._by_bytes: WeakValueDictionary[bytes, KnownHead] = WeakValueDictionary()

    def of(self, data: bytes, exchange: Exchange) -> KnownHead | None:
        """What to remember of a request that was read whole, out of `data` alone."""
        end = data.find(_END, 0, _LONGEST) + len(_END)
        size = len(data) - end
        declared = exchange.headers.get(b"content-length")
        if (
            end < len(_END)
            or declared is None
            or declared != b"%d" % size
            or exchange.received != size
            or not exchange.keep_alive
            or b"expect" in exchange.headers
            or b"transfer-encoding" in exchange.headers
        ):
            return None
        head = data[:end]
        known = self._by_bytes.get(head)
        if known is None:
            known = KnownHead(head, exchange, size)
            self._by_bytes[head] = known
        return known
