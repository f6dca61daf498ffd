"""What would be tried for a model on a profile, and why or why not. Makes and measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from packager.domain.hardware import HardwareProfile
from packager.optimize.anatomy import Anatomy
from packager.optimize.candidates import candidates
from packager.optimize.recipes import Illegal, Recipe


@dataclass(frozen=True, slots=True)
class PlannedCandidate:
    """A row of the plan; `passes` is empty for the source and for what is not lawful."""

    name: str
    precision: str
    legal: bool
    why: str
    passes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "precision": self.precision,
            "legal": self.legal,
            "why": self.why,
            "passes": list(self.passes),
        }


def plan_candidates(anatomy: Anatomy, hardware: HardwareProfile) -> tuple[PlannedCandidate, ...]:
    """Every row of the rule table for this model and profile."""
    return planned(candidates(anatomy, hardware))


def planned(rows: Sequence[Recipe | Illegal]) -> tuple[PlannedCandidate, ...]:
    """The rows of any rule table."""
    return tuple(_planned(row) for row in rows)


def _planned(row: Recipe | Illegal) -> PlannedCandidate:
    if isinstance(row, Illegal):
        return PlannedCandidate(row.name, row.precision.value, False, row.reason, ())
    passes = tuple(map(str, row.passes))
    return PlannedCandidate(row.name, row.precision.value, True, row.why, passes)
