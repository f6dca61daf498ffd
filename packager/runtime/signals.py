"""The signals that the process got, in the order in which they came."""

from __future__ import annotations

import asyncio
import signal
from collections import deque


class Signals:
    """Received by `put`, in the event loop; waited for by one at a time."""

    def __init__(self) -> None:
        self._came: deque[signal.Signals] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, number: signal.Signals) -> None:
        self._came.append(number)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def empty(self) -> bool:
        return not self._came

    async def get(self) -> signal.Signals:
        """The first one that nobody has taken yet."""
        while not self._came:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._came.popleft()
