"""Optimize the model once for each hardware profile of the plan."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from packager.canonical import dumps_readable
from packager.digest import Digest
from packager.domain.model import Model, OptimizedModel
from packager.domain.release import Plan, ReleaseRequest
from packager.optimize.effort import Effort, workers_for
from packager.optimize.exporting import onnx_source
from packager.optimize.known_readings import KnownReadings
from packager.optimize.optimizing import opened, quality_record
from packager.optimize.optimizing import optimize as optimize_model
from packager.optimize.processes import Workers
from packager.optimize.record import MeasurementRecord
from packager.optimize.record_file import read_record, record_bytes
from packager.optimize.remembering import Memory, Question
from packager.optimize.report import html_report
from packager.optimize.samples import Samples, read_samples
from packager.optimize.task import read_task
from packager.optimize.trying import Bench
from packager.progress import Progress
from packager.steps.generating import optimize_generation
from packager.steps.hardware import distinct_hardware
from packager.workspace import Workspace, cache_folder, write_atomically


def optimize(
    plan: Plan,
    measurements: Path,
    workspace: Workspace,
    progress: Progress,
    effort: Effort | None = None,
) -> dict[str, OptimizedModel]:
    """Hardware id → optimized model, with its quality record under `evidence/quality/`.

    Timing is an input, like the lock: what was measured once is read again from `measurements`, so
    that the same inputs give the same choice and the same bytes. Answers are kept in the cache; the
    model is laid on the bench only for a profile whose answer is not there.
    """
    request = plan.request
    progress.step(f"read the model {request.model_path}")
    known = read_record(measurements) if measurements.exists() else None
    record = known or MeasurementRecord()
    if request.serving.generation:
        text = request.serving.generation
        models, record = optimize_generation(plan, text, record, workspace, progress)
    else:
        models, record = _optimize_tensors(plan, record, workspace, progress, effort or Effort())
    for name, answer in models.items():
        write_quality(answer, workspace.release / "evidence" / "quality" / name)
    if record != known:
        write_atomically(measurements, record_bytes(record))
        progress.note(f"measurements recorded in {measurements}")
    write_atomically(workspace.release / "evidence" / "measurements.json", record_bytes(record))
    return models


def _optimize_tensors(
    plan: Plan,
    record: MeasurementRecord,
    workspace: Workspace,
    progress: Progress,
    effort: Effort,
) -> tuple[dict[str, OptimizedModel], MeasurementRecord]:
    with workers_for(effort) as workers:  # first, so that they get warm while the model is read
        return _with_workers(workers, plan, record, workspace, progress, effort)


def _with_workers(
    workers: Workers,
    plan: Plan,
    record: MeasurementRecord,
    workspace: Workspace,
    progress: Progress,
    effort: Effort,
) -> tuple[dict[str, OptimizedModel], MeasurementRecord]:
    request = plan.request
    readings = KnownReadings(cache_folder() / "readings")
    model = readings.read(onnx_source(request.model_path, cache_folder()))
    samples = _digest(request.samples, model)
    own = _own_samples(request, model) if request.task else None
    task = read_task(request.task, own) if request.task and own else None
    quality = request.quality
    if task:
        quality = replace(quality, plugin=task.plugin_digest, labels=task.labels_digest)
    memory = Memory(cache_folder() / "optimized")
    models = {}
    with ExitStack() as stack:
        bench: Bench | None = None
        for hardware in distinct_hardware(plan):
            progress.step(f"optimize for {hardware.id}")
            question = Question(
                model,
                samples,
                hardware,
                quality,
                request.objective,
                request.precision,
                request.constraints,
            )
            # what a cluster answers is true of its machines, and the memory is this one's
            answer = None if effort.scheduler else memory.recall(question, record)
            if answer is None:
                into = workspace.work / "models" / hardware.id
                into.mkdir(parents=True)
                if bench is None:
                    own = own or _own_samples(request, model)
                    bench = stack.enter_context(
                        opened(model, own, quality, into.parent, progress, workers, task)
                    )
                answer, record = optimize_model(
                    bench,
                    hardware=hardware,
                    objective=request.objective,
                    record=record,
                    into=into,
                    progress=progress,
                    precision=request.precision,
                    constraints=request.constraints,
                )
                if not (effort.scheduler or bench.workshop.workers.accident.is_set()):
                    memory.keep(question, record, answer)
            models[hardware.id] = answer
    return models, record


def write_quality(optimized: OptimizedModel, stem: Path) -> None:
    """The quality record of one hardware profile as `<stem>.json`, and for people as HTML."""
    record = quality_record(optimized)
    write_atomically(stem.with_name(f"{stem.name}.json"), dumps_readable(record))
    write_atomically(stem.with_name(f"{stem.name}.html"), html_report(record).encode())


def _own_samples(request: ReleaseRequest, model: Model) -> Samples | None:
    return read_samples(request.samples, model) if request.samples else None


def _digest(samples: Path | None, model: Model) -> Digest | None:
    """Of the file as it is. Raises InputError, as `read_samples` words it, when there is none."""
    try:
        return Digest.of_file(samples) if samples else None
    except OSError:
        read_samples(samples, model) if samples else None
        raise
