"""What a rehearsal is told to play, and what came of it: values without a simulation in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Scenario(StrEnum):
    """What goes wrong."""

    SPIKE = "spike"
    LOST_SITE = "lost site"
    ROLL_OUT = "slow roll-out"


@dataclass(frozen=True, slots=True)
class Course:
    """Seconds at the usual load before something goes wrong, and for which a spike then holds; it
    rises within the `ramp_s` of the demands' surge."""

    calm_s: float = 60.0
    hold_s: float = 120.0


@dataclass
class Bucket:
    """What happened in one slice of time. Rates are of all requests, not only those simulated."""

    at_s: float
    arrived: float = 0.0
    shed: float = 0.0
    late: float = 0.0
    replies_ms: list[float] = field(default_factory=list)
    replicas: float = 0.0

    def as_dict(self) -> dict[str, float | None]:
        ordered = sorted(self.replies_ms)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None
        return {
            "at_s": round(self.at_s, 1),
            "arrived": round(self.arrived, 1),
            "shed": round(self.shed, 1),
            "late": round(self.late, 1),
            "p95_ms": None if p95 is None else round(p95, 2),
            "replicas": round(self.replicas, 2),
        }


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The course of a scenario: `shed` and `late` as shares of all that arrived."""

    scenario: Scenario
    told: str
    shed: float
    late: float
    buckets: tuple[Bucket, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "scenario": self.scenario.value,
            "told": self.told,
            "shed": round(self.shed, 5),
            "late": round(self.late, 5),
            "course": [bucket.as_dict() for bucket in self.buckets],
        }
