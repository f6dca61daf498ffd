"""The optimizer's table: one row for everything that was thought of, with verdict and reason."""

from __future__ import annotations

from collections.abc import Mapping

from packager.domain.model import Candidate, Model, Objective, Verdict
from packager.optimize.choosing import Choice
from packager.optimize.making import Made
from packager.optimize.processes import Failure
from packager.optimize.recipes import Illegal, Recipe
from packager.optimize.record import Row, measurement
from packager.optimize.trying import Trial


def table(
    rows: tuple[Recipe | Illegal, ...],
    source: Model,
    trials: list[Trial],
    measured: Mapping[str, Row],
    failures: Mapping[str, Failure],
    choice: Choice,
    objective: Objective,
) -> tuple[Candidate, ...]:
    """One row for everything that was thought of, in the order of the rules."""
    tried = {trial.recipe.name: trial for trial in trials}
    candidates = []
    for row in rows:
        if isinstance(row, Illegal):
            candidates.append(Candidate(row.name, row.precision, Verdict.ILLEGAL, row.reason, ()))
            continue
        trial = tried.get(row.name)
        verdict, reason = _verdict(row.name, trial, failures, choice)
        made = trial.outcome if trial else None
        model = source if trial is None else made.model if isinstance(made, Made) else None
        figures = measured.get(row.name)
        candidates.append(
            Candidate(
                name=row.name,
                precision=row.precision,
                verdict=verdict,
                reason=reason,
                passes=tuple(map(str, row.passes)),
                notes=_notes(row, made),
                digest=model.digest if model else None,
                size=model.size if model else None,
                measurement=measurement(figures.best(objective), objective) if figures else None,
                quality=trial.judgement.quality if trial else None,
            )
        )
    return tuple(candidates)


def _notes(recipe: Recipe, made: Made | Failure | None) -> tuple[str, ...]:
    """What speaks for the candidate, what its making told, and what its quality was judged on."""
    told = made.notes if isinstance(made, Made) else ()
    twin = (
        f"quality judged in emulation: FP32 with every value rounded to {recipe.precision.value}"
        if recipe.emulated
        else ""
    )
    return tuple(note for note in (recipe.why, *told, twin) if note)


def _verdict(
    name: str, trial: Trial | None, failures: Mapping[str, Failure], choice: Choice
) -> tuple[Verdict, str]:
    quality = f"; {trial.judgement.reason}" if trial else ""
    if name == choice.name:
        return Verdict.CHOSEN, f"{choice.reason}{quality}"
    if trial and isinstance(trial.outcome, Failure):
        return Verdict.FAILED, trial.outcome.reason
    if trial and not trial.eligible:
        return Verdict.REJECTED, trial.judgement.reason
    if trial and name in failures:
        return Verdict.FAILED, failures[name].reason
    return Verdict.ELIGIBLE, f"{choice.others.get(name, 'not chosen')}{quality}"
