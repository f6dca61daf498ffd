"""`refuse`: all violations of all targets, raised at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packager.domain.decision import Decision, Status
from packager.errors import Finding, PolicyRefusal


def refuse(decisions_by_target: Mapping[str, Sequence[Decision]]) -> None:
    """Raises PolicyRefusal with every violation, sorted by target and control; else nothing."""
    findings = [
        _finding(target, decision)
        for target, decisions in sorted(decisions_by_target.items())
        for decision in sorted(decisions, key=lambda decision: decision.control)
        if decision.status is Status.VIOLATED
    ]
    if findings:
        raise PolicyRefusal.of(findings)


def _finding(target: str, decision: Decision) -> Finding:
    return Finding(
        what=f"{decision.control}: {decision.requirement}",
        where=target,
        expected=decision.law.told if decision.law else None,
        got=decision.why,
        next_step=decision.remedy,
    )
