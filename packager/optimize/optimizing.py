"""The optimizer, as a table of contents: candidates, made, gated, measured, chosen, evidenced.

`opened` lays a model on the bench; `optimize` takes it to the model that is shipped for one
profile. Every candidate that was thought of is a row of the answer, with the reason for what became
of it. `quality_record` is the evidence document. Nothing here knows how a pass works or how time is
taken.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import (
    NO_CONSTRAINTS,
    Constraints,
    Model,
    ModelFile,
    Objective,
    OptimizedModel,
    QualityBudget,
)
from packager.errors import OptimizationError
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.evidence import quality_record
from packager.optimize.golden import golden_samples
from packager.optimize.making import Made
from packager.optimize.measuring import where
from packager.optimize.operations import work_of
from packager.optimize.processes import Failure, Workers, warmed
from packager.optimize.reading import load_graph
from packager.optimize.recipes import SOURCE, Illegal, Recipe
from packager.optimize.record import MeasurementRecord
from packager.optimize.samples import Samples
from packager.optimize.searching import Search
from packager.optimize.table import Findings, table
from packager.optimize.task import Task
from packager.optimize.tools import tools
from packager.optimize.trying import Bench, Trial, open_bench
from packager.progress import Progress
from packager.workspace import telling_output_errors

__all__ = ["opened", "optimize", "quality_record"]


@contextmanager
def opened(
    model: Model,
    samples: Samples | None,
    quality: QualityBudget,
    into: Path,
    progress: Progress,
    workers: Workers | None = None,
    task: Task | None = None,
) -> Iterator[Bench]:
    """The model on the bench, for any number of profiles; scratch space is a folder in `into`.

    Raises InputError when ONNX Runtime cannot run the model.
    """
    with (
        telling_output_errors(into),
        tempfile.TemporaryDirectory(prefix=".optimize-", dir=into) as scratch,
        warmed(workers or Workers()) as own,
    ):
        yield open_bench(model, samples, quality, Path(scratch), own, progress, task)


def optimize(
    bench: Bench,
    *,
    hardware: HardwareProfile,
    objective: Objective,
    record: MeasurementRecord | None,
    into: Path,
    progress: Progress,
    precision: Precision | None = None,
    constraints: Constraints = NO_CONSTRAINTS,
) -> tuple[OptimizedModel, MeasurementRecord]:
    """Find the best way to run the model on `hardware` within the budget of the bench.

    The chosen model and `golden.npz` are written into the folder `into`; the source, when chosen,
    stays where it is. `record` holds known measurements; the returned one has new ones added and is
    equal to it when nothing had to be timed. `precision` pins the number format of the weights.
    Raises OptimizationError when nothing keeps to `constraints` or to the pinned format.
    """
    record = record or MeasurementRecord()
    model = bench.workshop.source
    graph = load_graph(model.files[0].path)
    rows = candidates(anatomy_of(graph), hardware)
    recipes = tuple(row for row in rows if isinstance(row, Recipe))
    work = work_of(graph, bench.workshop.samples.shapes())
    with telling_output_errors(into):
        search = Search.begin(
            recipes, bench, hardware, objective, record, progress, precision, constraints
        )
        while True:
            with _telling_why(precision, rows, search):
                found = search.settle()
            findings = Findings(
                rows=rows,
                source=model,
                found=found,
                work=work,
                hardware=hardware,
                objective=objective,
                metric=bench.quality.metric,
            )
            choice = found.choice
            shown, front = table(findings)
            if not search.need(set(front.dominated_by.values()) & set(found.outpaced)):
                break
        made = {trial.recipe.name: trial for trial in found.trials}.get(choice.name)
        chosen = (
            keep(made.outcome.model, into) if made and isinstance(made.outcome, Made) else model
        )
        with ThreadPoolExecutor(max_workers=bench.workshop.workers.at_once) as pool:
            losing = pool.submit(_layers, bench, made)
            golden = golden_samples(bench.workshop, chosen, into / "golden.npz")
            layers = losing.result()
    if isinstance(golden, Failure):
        progress.note(f"no golden samples: {golden.reason}")
    best = found.measured.get(choice.name)
    threads = best.best(objective).threads if best else 1
    return (
        OptimizedModel(
            source=model,
            model=chosen,
            candidates=shown,
            where=where(hardware, found.measured),
            golden=None if isinstance(golden, Failure) else golden,
            intra_op_threads=threads,
            tools=tools(),
            hardware=hardware.id,
            budget=bench.quality,
            objective=objective,
            samples=bench.workshop.samples.uses(),
            constraints=constraints,
            batching=best.batching(threads) if best else None,
            front_axes=front.axes,
            layers=layers,
        ),
        record.having(found.measured.values()),
    )


@contextmanager
def _telling_why(
    precision: Precision | None, rows: tuple[Recipe | Illegal, ...], search: Search
) -> Iterator[None]:
    """What became of the candidates of a pinned precision, where none of them can be shipped."""
    try:
        yield
    except OptimizationError as error:
        finding = error.findings[0]
        if finding.where != "precision" or precision is None:
            raise
        told = [
            f"{row.name}: {row.reason if isinstance(row, Illegal) else search.why(row.name)}"
            for row in rows
            if row.precision is precision and row.name != SOURCE
        ]
        got = "; ".join(told) or f"no rule makes {precision.value} of this model here"
        raise OptimizationError.of([replace(finding, got=got)]) from error


def _layers(bench: Bench, trial: Trial | None) -> tuple[tuple[str, float], ...]:
    """Where the choice loses, when it is one that loses."""
    if trial is None or trial.recipe.lossless or not isinstance(trial.outcome, Made):
        return ()
    return bench.workshop.layers(trial.outcome)


def keep(model: Model, into: Path) -> Model:
    """The chosen model's files, copied: another profile may choose the same candidate."""
    files = []
    for file in model.files:
        target = into / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.path, target)
        files.append(ModelFile(file.name, target, file.digest, file.size))
    return replace(model, files=tuple(files))
