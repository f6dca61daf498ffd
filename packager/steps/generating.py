"""Optimize a text model once for each hardware profile of the plan."""

from __future__ import annotations

from pathlib import Path

from packager.domain.generation import Generation
from packager.domain.model import OptimizedModel
from packager.domain.release import Plan
from packager.optimize.record import MeasurementRecord
from packager.optimize.text.optimizing import opened_text, optimize_text
from packager.optimize.text.prompts import read_prompts
from packager.optimize.text.source import read_text_model
from packager.progress import Progress
from packager.steps.hardware import distinct_hardware
from packager.workspace import Workspace


def optimize_generation(
    plan: Plan,
    generation: Generation,
    record: MeasurementRecord,
    workspace: Workspace,
    progress: Progress,
) -> tuple[dict[str, OptimizedModel], MeasurementRecord]:
    """Hardware id → the text model with its settings, and the record with what was timed."""
    request = plan.request
    model = read_text_model(generation)
    prompts = read_prompts(request.samples)
    folder = workspace.work / "models"
    folder.mkdir(parents=True, exist_ok=True)
    models = {}
    with opened_text(model, generation, prompts, request.quality, folder, progress) as bench:
        for hardware in distinct_hardware(plan):
            progress.step(f"optimize for {hardware.id}")
            into: Path = folder / hardware.id
            into.mkdir()
            models[hardware.id], record = optimize_text(
                bench,
                hardware=hardware,
                objective=request.objective,
                record=record,
                into=into,
                progress=progress,
                precision=request.precision,
                constraints=request.constraints,
            )
    return models, record
