"""What happened to a model's requests, in Triton's words (its "Statistics Extension").

Only the event loop's thread writes here, so that plain numbers are enough. Seconds are kept, and
told as nanoseconds.
"""

from __future__ import annotations

import time
from bisect import bisect_left

QUEUE_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Duration:
    """How often, and how many seconds altogether."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        self.count += count
        self.seconds += seconds * count

    def as_dict(self) -> dict[str, int]:
        return {"count": self.count, "ns": int(self.seconds * 1e9)}


class Histogram:
    """Counts of values up to each bound, and above the last one."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = QUEUE_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def quantile(self, part: float) -> float | None:
        """The bound below which this part of the values lies; None without any, inf above all."""
        wanted, seen = part * sum(self.counts), 0
        if not wanted:
            return None
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            if seen >= wanted:
                return bound
        return None


class Statistics:
    """One model. `rows` are inferences, `executions` are runs of the session."""

    __slots__ = (
        "by_size", "compute_infer", "compute_input", "compute_output", "executions", "fail",
        "failures_in_a_row", "last", "queue", "queue_seconds", "request_seconds", "rows", "shed",
        "success",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rows = self.executions = self.failures_in_a_row = 0
        self.last = 0.0
        self.success, self.fail, self.queue = Duration(), Duration(), Duration()
        self.compute_input, self.compute_infer = Duration(), Duration()
        self.compute_output = Duration()
        self.by_size: dict[int, Duration] = {}
        self.request_seconds, self.queue_seconds = Histogram(), Histogram()
        self.shed: dict[str, int] = {}

    def executed(self, jobs: int, rows: int, seconds: float) -> None:
        """One run of the session for `jobs` requests with `rows` rows together."""
        self.executions += 1
        self.rows += rows
        self.last = time.time()
        self.compute_infer.add(seconds, jobs)
        self.by_size.setdefault(rows, Duration()).add(seconds)

    def refused(self, reason: str) -> None:
        """A request that was turned away: full, fairness, deadline, timeout."""
        self.shed[reason] = self.shed.get(reason, 0) + 1

    def as_dict(self, name: str, version: str) -> dict[str, object]:
        """An entry of `model_stats`."""
        return {
            "name": name,
            "version": version,
            "last_inference": int(self.last * 1000),
            "inference_count": self.rows,
            "execution_count": self.executions,
            "inference_stats": {
                "success": self.success.as_dict(),
                "fail": self.fail.as_dict(),
                "queue": self.queue.as_dict(),
                "compute_input": self.compute_input.as_dict(),
                "compute_infer": self.compute_infer.as_dict(),
                "compute_output": self.compute_output.as_dict(),
                "cache_hit": Duration().as_dict(),
                "cache_miss": Duration().as_dict(),
            },
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": Duration().as_dict(),
                    "compute_infer": taken.as_dict(),
                    "compute_output": Duration().as_dict(),
                }
                for size, taken in sorted(self.by_size.items())
            ],
        }
