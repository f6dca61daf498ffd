"""asyncio's event loop, which can say whether somebody waits for it."""

from __future__ import annotations

import asyncio
import select
import selectors


class EventLoop(asyncio.SelectorEventLoop):
    """On Linux, where a file that watches others can be watched itself."""

    def __init__(self) -> None:
        watched = selectors.EpollSelector()
        super().__init__(watched)
        self._somebody = select.poll()
        self._somebody.register(watched.fileno(), select.POLLIN)

    def is_awaited(self) -> bool:
        """Whether bytes of a client, or anything else, are there and not read yet."""
        return bool(self._somebody.poll(0))
