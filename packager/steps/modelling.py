"""Optimize every model of a release, one after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packager.domain.model import OptimizedModel
from packager.domain.release import Plan
from packager.optimize.effort import Effort
from packager.progress import Progress
from packager.steps.optimizing import optimize, write_quality
from packager.workspace import Workspace, copy_atomically

_RECORD = Path("evidence/measurements.json")


def optimize_models(
    plan: Plan,
    measurements: Path,
    workspace: Workspace,
    progress: Progress,
    effort: Effort | None = None,
) -> dict[str, tuple[OptimizedModel, ...]]:
    """Hardware id → the optimized models in the order of the request, with their quality records:
    the first one's as `optimize` writes it, those of others where the request says.

    All are measured into one record, which grows from model to model.
    """
    found: dict[str, tuple[OptimizedModel, ...]] = {}
    for number, request in enumerate(plan.request.models):
        alone = replace(plan, request=request)
        place = workspace if number == 0 else _room(workspace, number)
        if plan.request.beside:
            progress.step(f"model {request.model_name}")
        for hardware, model in optimize(alone, measurements, place, progress, effort).items():
            found[hardware] = (*found.get(hardware, ()), model)
            if number:
                path = workspace.release / request.quality_path(hardware)
                write_quality(model, path.with_suffix(""))
        if number:
            copy_atomically(place.release / _RECORD, workspace.release / _RECORD)
    return found


def _room(workspace: Workspace, number: int) -> Workspace:
    """Scratch space of its own for a model, so that two never meet."""
    room = workspace.work / f"model-{number}"
    made = Workspace(room / "release", room / "work")
    made.release.mkdir(parents=True)
    made.work.mkdir()
    return made
