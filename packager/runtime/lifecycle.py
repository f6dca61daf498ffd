"""What the server is up to, and how many requests it may have in hand.

Starting → ready → draining. All of it is touched by the event loop's thread only, so plain
attributes are enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from .errors import RequestError

RETRY_AFTER_SECONDS = 1


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """Phase and admission. At most `max_concurrency` inferences are in hand; more are refused.

    A place is taken when a request is complete, so that slow senders keep nobody from being served;
    `arriving` counts those that are still being read (their bytes are bounded by the connections).
    `quiet_since` is when the last inference came or ended (monotonic seconds); `cut` counts the
    accepted requests that were given up because the time to drain was over; `hopeless` says that
    only a restart can help; `conditions` are what features add to readiness.
    """

    def __init__(self, max_concurrency: int) -> None:
        self.phase = Phase.STARTING
        self.in_hand = 0
        self.arriving = 0
        self.cut = 0
        self.hopeless = False
        self.quiet_since = time.monotonic()
        self.conditions: list[Callable[[], bool]] = []
        self._max_concurrency = max_concurrency

    def announce(self) -> None:
        """The head of an inference is there; raises RequestError (503) when no place is free now,
        since reading its body would be in vain."""
        self._require_place()
        self.arriving += 1

    def arrived(self) -> None:
        """It is complete, or will never be."""
        self.arriving -= 1

    def enter(self) -> None:
        """Take a place among the inferences in hand; raises RequestError (503) without one."""
        self._require_place()
        self.in_hand += 1

    def _require_place(self) -> None:
        self.require_started()
        if self.in_hand >= self._max_concurrency:
            raise unavailable(f"{self._max_concurrency} requests are in hand already")

    def leave(self) -> None:
        """Give the place back."""
        self.in_hand -= 1
        self.quiet_since = time.monotonic()

    def fit(self) -> bool:
        """Whether requests are welcome: ready, and every feature's own condition holds."""
        return self.phase is Phase.READY and all(holds() for holds in self.conditions)

    def require_started(self) -> None:
        """Raises RequestError (503) while the models are not loaded and tested."""
        if self.phase is Phase.STARTING:
            raise unavailable("the server is starting")

    @property
    def busy(self) -> bool:
        """Whether an inference is in hand or arrives."""
        return bool(self.in_hand or self.arriving)

    def quiet_for(self) -> float:
        """Seconds since the last inference came or ended; 0 while one is in hand or arrives."""
        return 0.0 if self.busy else time.monotonic() - self.quiet_since


def unavailable(why: str, *, status: int = 503, seconds: int = RETRY_AFTER_SECONDS) -> RequestError:
    """503 (or 429) with Retry-After, for what is well worth another try."""
    return RequestError(status, f"{why}; try again", headers={"retry-after": str(seconds)})
