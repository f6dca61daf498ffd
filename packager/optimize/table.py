"""The optimizer's table: one row for everything that was thought of, with verdict and reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Candidate, Metric, Model, Objective, Verdict
from packager.optimize.estimating import estimate
from packager.optimize.front import Front, Point, pareto_front
from packager.optimize.making import Made
from packager.optimize.operations import Work
from packager.optimize.processes import Failure
from packager.optimize.recipes import SOURCE, Illegal, Recipe
from packager.optimize.record import measurement
from packager.optimize.searching import Found
from packager.optimize.trying import Trial


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is known when the choice is made."""

    rows: tuple[Recipe | Illegal, ...]
    source: Model
    found: Found
    work: Work | None
    hardware: HardwareProfile
    objective: Objective
    metric: Metric


_STANDING = (Verdict.CHOSEN, Verdict.ELIGIBLE, Verdict.OUTPACED)


def table(findings: Findings) -> tuple[tuple[Candidate, ...], Front]:
    """A row for each candidate, in the order of the rules, and the front of those that stand: what
    is outpaced stands where a look has put it."""
    tried = {trial.recipe.name: trial for trial in findings.found.trials}
    rows = [_row(one, tried.get(one.name), findings) for one in findings.rows]
    front = pareto_front(
        _point(row, findings.metric) for row in rows if row.verdict in _STANDING and row.size
    )
    return tuple(_placed(row, front) for row in rows), front


def _placed(row: Candidate, front: Front) -> Candidate:
    if row.name in front.names:
        return replace(row, on_front=True)
    by = front.dominated_by.get(row.name)
    if by and row.verdict is Verdict.CHOSEN:
        return replace(row, reason=f"{row.reason}; {by} is nowhere worse, but changes more")
    return replace(row, reason=f"{row.reason}; dominated by {by}") if by else row


def _point(row: Candidate, metric: Metric) -> Point:
    """Where a candidate stands. Speeds are ratios to the source's, which drift least."""
    figures, estimated, quality = row.measurement, row.estimate, row.quality
    error = metric.smaller_is_better
    exact = row.name == SOURCE or quality is None  # equal to the source up to rounding
    value = quality.value if quality and not exact else metric.perfect
    if metric is Metric.TASK:
        value = max(0.0, value)  # a score above the source's is luck, and no merit of the candidate
    return Point(
        row.name,
        {
            "latency": round(1 / figures.latency_speedup, 2)
            if figures and figures.latency_speedup
            else None,
            "throughput": figures.throughput_speedup if figures else None,
            "size": row.size,
            "memory": figures.resident_bytes if figures else None,
            "energy": estimated.energy_j if estimated else None,
            "cost": estimated.cost_usd_per_million[1]
            if estimated and estimated.cost_usd_per_million
            else None,
            "error" if error else "quality": value,
        },
    )


def _row(row: Recipe | Illegal, trial: Trial | None, findings: Findings) -> Candidate:
    if isinstance(row, Illegal):
        return Candidate(row.name, row.precision, Verdict.ILLEGAL, row.reason, ())
    verdict, reason = _verdict(row.name, trial, findings.found)
    made = trial.outcome if trial else None
    model = findings.source if trial is None else made.model if isinstance(made, Made) else None
    figures = findings.found.measured.get(row.name)
    measured = measurement(figures, findings.objective) if figures else None
    return Candidate(
        name=row.name,
        precision=row.precision,
        verdict=verdict,
        reason=reason,
        passes=tuple(map(str, row.passes)),
        digest=model.digest if model else None,
        size=model.size if model else None,
        measurement=measured,
        quality=trial.judgement.quality if trial else None,
        notes=_notes(row, made),
        estimate=estimate(
            findings.work,
            model.size,
            Precision.FP32 if row.computes_in_fp32 else row.precision,
            findings.hardware,
            measured.throughput_per_s if measured else None,
            measured.threads if measured else 1,
        )
        if model
        else None,
    )


def _notes(recipe: Recipe, made: Made | Failure | None) -> tuple[str, ...]:
    """What speaks for the candidate, what its making told, and what its quality was judged on."""
    told = made.notes if isinstance(made, Made) else ()
    twin = (
        f"quality judged in emulation: FP32 with every value rounded to {recipe.precision.value}"
        if recipe.emulated
        else ""
    )
    return tuple(note for note in (recipe.why, *told, twin) if note)


def _verdict(name: str, trial: Trial | None, found: Found) -> tuple[Verdict, str]:
    choice = found.choice
    quality = f"; {trial.judgement.reason}" if trial else ""
    if name == choice.name:
        return Verdict.CHOSEN, f"{choice.reason}{quality}"
    if trial and isinstance(trial.outcome, Failure):
        return Verdict.FAILED, trial.outcome.reason
    if trial and name in found.failures:
        return Verdict.FAILED, found.failures[name].reason
    if name in found.outpaced:
        return Verdict.OUTPACED, found.outpaced[name]
    if trial and not trial.eligible:
        return Verdict.REJECTED, trial.judgement.reason
    return Verdict.ELIGIBLE, f"{choice.others.get(name, 'not chosen')}{quality}"
