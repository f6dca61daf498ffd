"""Optimize the model once for each hardware profile of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packager.canonical import dumps_readable
from packager.domain.hardware import HardwareProfile
from packager.domain.model import OptimizedModel
from packager.domain.release import Plan
from packager.optimize.optimizing import optimize as optimize_model
from packager.optimize.optimizing import quality_record
from packager.optimize.reading import read_model
from packager.optimize.record import MeasurementRecord, read_record, record_bytes
from packager.optimize.samples import Samples, read_samples
from packager.progress import Progress
from packager.workspace import Workspace, write_atomically


def optimize(
    plan: Plan, measurements: Path, workspace: Workspace, progress: Progress
) -> dict[str, OptimizedModel]:
    """Hardware id → optimized model, with its quality record under `evidence/quality/`.

    Timing is an input, like the lock: what was measured once is read again from `measurements`, so
    that the same inputs give the same choice and the same bytes.
    """
    request = plan.request
    progress.step(f"read the model {request.model_path}")
    model = read_model(request.model_path)
    samples: Samples | None = read_samples(request.samples, model) if request.samples else None
    known = read_record(measurements) if measurements.exists() else None
    record: MeasurementRecord | None = known
    models = {}
    for hardware in distinct_hardware(plan):
        progress.step(f"optimize for {hardware.id}")
        into = workspace.work / "models" / hardware.id
        into.mkdir(parents=True)
        models[hardware.id], record = optimize_model(
            model,
            hardware=hardware,
            quality=request.quality,
            objective=request.objective,
            samples=samples,
            record=record,
            into=into,
            progress=progress,
            precision=request.precision,
        )
        write_quality(models[hardware.id], workspace.release / "evidence" / "quality" / hardware.id)
    if record is not None:
        if record != known:
            write_atomically(measurements, record_bytes(record))
            progress.note(f"measurements recorded in {measurements}")
        write_atomically(workspace.release / "evidence" / "measurements.json", record_bytes(record))
    return models


def write_quality(optimized: OptimizedModel, stem: Path) -> None:
    """The quality record of one hardware profile as `<stem>.json`."""
    write_atomically(stem.with_name(f"{stem.name}.json"), dumps_readable(quality_record(optimized)))


def distinct_hardware(plan: Plan) -> Sequence[HardwareProfile]:
    """The hardware profiles of a plan, each once, by id."""
    found = {target.hardware.id: target.hardware for target in plan.targets}
    return [found[name] for name in sorted(found)]
