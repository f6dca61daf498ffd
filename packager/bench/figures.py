"""What came of one step of a load. Times are milliseconds, rates are per second."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from packager.bench.connection import LOST

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
GENERATOR_AT_ITS_LIMIT = 0.9


@dataclass(slots=True)
class Tally:
    """Seconds of the good answers and of the refusals, and how often which other status came."""

    good: array[float] = field(default_factory=lambda: array("d"))
    refused: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    unsent: int = 0

    def add(self, status: int, seconds: float) -> None:
        """One answer; LOST is a status too."""
        if status == 200:
            self.good.append(seconds)
            return
        self.statuses[status] += 1
        if status in (429, 503):
            self.refused.append(seconds)


@dataclass(frozen=True, slots=True)
class Step:
    """One load and its outcome. `load` is clients (closed) or requests a second (open).

    `generator_cpu` is the share of a core that the generator took: near 1 the figures are its own.
    """

    loop: str
    load: float
    seconds: float
    rows: int
    succeeded: int
    failures: dict[str, int]
    latency_ms: dict[str, float]
    refused_p99_ms: float | None
    generator_cpu: float

    @property
    def per_second(self) -> float:
        """Good answers a second (goodput)."""
        return self.succeeded / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; rounded."""
        return {
            "loop": self.loop,
            "load": self.load,
            "seconds": round(self.seconds, 3),
            "succeeded": self.succeeded,
            "per_second": round(self.per_second, 1),
            "rows_per_second": round(self.per_second * self.rows, 1),
            "latency_ms": self.latency_ms,
            "failures": self.failures,
            "refused_p99_ms": self.refused_p99_ms,
            "generator_cpu": round(self.generator_cpu, 2),
        }


def step(
    loop: str, load: float, seconds: float, rows: int, tally: Tally, generator_cpu: float
) -> Step:
    """The tally in figures."""
    ordered = sorted(tally.good)
    latency = {_name(p): _ms(percentile(ordered, p)) for p in PERCENTILES} if ordered else {}
    if ordered:
        latency |= {"mean": _ms(sum(ordered) / len(ordered)), "max": _ms(ordered[-1])}
    failures = {
        "no answer" if status == LOST else f"HTTP {status}": count
        for status, count in sorted(tally.statuses.items())
    }
    if tally.unsent:
        failures["not sent, all connections busy"] = tally.unsent
    return Step(
        loop,
        load,
        seconds,
        rows,
        len(ordered),
        failures,
        latency,
        _ms(percentile(sorted(tally.refused), 99)) if tally.refused else None,
        generator_cpu,
    )


def percentile(ordered: list[float], percent: float) -> float:
    """The smallest value that is not below `percent` of all (nearest rank); `ordered` has some."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def _name(percent: float) -> str:
    return f"p{percent:g}"


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
