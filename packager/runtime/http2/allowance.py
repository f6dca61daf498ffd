"""How much of what costs a peer nothing is put up with.

A reset, a PING, a SETTINGS frame or an empty frame is work for us and none for the peer:
CVE-2019-9512 (ping flood), -9514 and CVE-2023-44487 (resets), -9515 (settings), -9518 (empty
frames). Each takes from an allowance that fills with time, and
with every request that comes to its end, so that a busy client may do what it likes.
"""

from __future__ import annotations

from collections.abc import Callable

from .faults import ConnectionFault, ErrorCode


class Allowance:
    """`most` at a time, and `per_second` more for each second."""

    __slots__ = ("_left", "_most", "_now", "_per_second", "_since")

    def __init__(self, most: int, per_second: int, now: Callable[[], float]) -> None:
        self._most = self._left = float(most)
        self._per_second = per_second
        self._now = now
        self._since = now()

    def earn(self, count: int) -> None:
        """A request came to its end."""
        if self._left < self._most:
            self._left += count

    def spend(self, why: str) -> None:
        """Raises ConnectionFault (ENHANCE_YOUR_CALM) when there is nothing left."""
        self._left -= 1
        if self._left >= 0:
            return
        now = self._now()
        self._left = min(self._most, (now - self._since) * self._per_second) - 1
        self._since = now
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, why)
