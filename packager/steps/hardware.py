"""The hardware of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from packager.domain.hardware import HardwareProfile
from packager.domain.release import Plan


def distinct_hardware(plan: Plan) -> Sequence[HardwareProfile]:
    """The hardware profiles of a plan, each once, by id."""
    found = {target.hardware.id: target.hardware for target in plan.targets}
    return [found[name] for name in sorted(found)]
