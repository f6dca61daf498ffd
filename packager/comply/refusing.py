"""`refuse`: all violations of all targets, raised at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packager.domain.decision import Decision, Status
from packager.domain.hardware import Confidence
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
        expected=_law(decision),
        got=decision.why,
        next_step=decision.remedy,
    )


def _law(decision: Decision) -> str | None:
    law = decision.law
    if law is None:
        return None
    unsure = " (from memory, not looked up)" if law.confidence is Confidence.MEMORY else ""
    return f"{law.name}, {law.article}{unsure}"
