"""The optimizer for text, as a table of contents: candidates, made, judged, timed, chosen, tuned.

`opened_text` lays a text model on the bench: the user's prompts as tokens, and what the source says
to them. `optimize_text` takes it to the model, the settings and the golden answers for one profile.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packager.domain.generation import Generation, TextEngine
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import (
    Constraints,
    Model,
    Objective,
    OptimizedModel,
    QualityBudget,
)
from packager.optimize.anatomy import anatomy_of
from packager.optimize.contending import choice_of
from packager.optimize.gate import Judgement
from packager.optimize.making import Made, Workshop
from packager.optimize.measuring import measurable, where
from packager.optimize.optimizing import keep
from packager.optimize.processes import Failure, Workers, warmed
from packager.optimize.reading import PROTOBUF_LIMIT, load_graph
from packager.optimize.recipes import SOURCE, Recipe
from packager.optimize.record import MeasurementRecord, Row, TextRow
from packager.optimize.samples import Samples
from packager.optimize.searching import Found
from packager.optimize.table import Findings, table
from packager.optimize.text.asking import (
    ANSWER_TOKENS,
    answer_task,
    done,
    encoded,
    heard_of,
    judge_task,
)
from packager.optimize.text.candidates import text_candidates
from packager.optimize.text.gate import Heard, judge_text
from packager.optimize.text.golden import golden_answers
from packager.optimize.text.measuring import (
    Timing,
)
from packager.optimize.text.prompts import Prompts
from packager.optimize.text.settings import generation_settings
from packager.optimize.text.source import accompanying
from packager.optimize.tools import tools
from packager.optimize.trying import Trial
from packager.progress import Progress
from packager.workspace import telling_output_errors

_NO_SAMPLES = Samples({}, {}, (), (), (), synthetic=False)
GOLDEN_FILE = "golden.json"


@dataclass(frozen=True, slots=True)
class TextBench:
    """A text model with the prompts as tokens and the source's own words to those that judge."""

    workshop: Workshop
    generation: Generation
    quality: QualityBudget
    prompts: Prompts
    judging: list[list[int]]
    golden: list[list[int]]
    answers: list[list[int]]
    heard: Heard | None


@contextmanager
def opened_text(
    model: Model,
    generation: Generation,
    prompts: Prompts,
    quality: QualityBudget,
    into: Path,
    progress: Progress,
) -> Iterator[TextBench]:
    """The model on the bench. Raises InputError when prompts cannot be encoded, or ONNX Runtime
    cannot run the model."""
    with (
        telling_output_errors(into),
        tempfile.TemporaryDirectory(prefix=".optimize-", dir=into) as scratch,
        warmed(Workers()) as workers,
    ):
        external = len(model.files) > 1 or model.size > PROTOBUF_LIMIT // 2
        sized = workers.within(workers.limits.for_model(model.size))
        workshop = Workshop(model, external, _NO_SAMPLES, Path(scratch), sized)
        progress.advance("encoding prompts", 0, 0)
        most = generation.context - ANSWER_TOKENS
        judging = encoded(workshop, generation, prompts.judging, most)
        golden = encoded(workshop, generation, prompts.golden, most)
        progress.advance("running the source", 0, 0)
        answers: list[list[int]] = []
        heard = None
        if judging and not generation.decoder.unknown:
            answers = done(workshop, "source-answers", answer_task(generation, model, judging))[
                "answers"
            ]
            result = done(workshop, "source-heard", judge_task(generation, model, judging, answers))
            heard = heard_of(result, judging, answers)
        yield TextBench(workshop, generation, quality, prompts, judging, golden, answers, heard)


def optimize_text(
    bench: TextBench,
    *,
    hardware: HardwareProfile,
    objective: Objective,
    record: MeasurementRecord,
    into: Path,
    progress: Progress,
    precision: Precision | None,
    constraints: Constraints,
) -> tuple[OptimizedModel, MeasurementRecord]:
    """Find the best way to run the model on `hardware` within the budget of the bench.

    Written into the folder `into` are the chosen model, its golden answers and its chat template.
    Raises OptimizationError when nothing keeps to `constraints` or to the pinned format.
    """
    model = bench.workshop.source
    engine = bench.generation.engine_on(hardware.execution_provider)
    rows = text_candidates(anatomy_of(load_graph(model.files[0].path)), hardware)
    recipes = [row for row in rows if isinstance(row, Recipe) and row.name != SOURCE]
    trials = []
    for number, recipe in enumerate(recipes):
        progress.advance(f"trying {recipe.name}", number, len(recipes))
        trials.append(_attempt(bench, recipe, precision))
    fit = {
        trial.recipe.name: trial.outcome.model
        for trial in trials
        if isinstance(trial.outcome, Made) and trial.eligible
    }
    timing = Timing(
        bench.generation,
        bench.judging or bench.golden,
        bench.workshop.folder,
        bench.workshop.workers,
    )
    timed = measurable(hardware) and engine is TextEngine.PACKAGER
    measured, failures = (
        _timed(timing, {SOURCE: model, **fit}, hardware, record, progress) if timed else ({}, {})
    )
    choice = choice_of(
        model,
        [one for one in trials if one.eligible and one.recipe.name not in failures],
        measured,
        objective,
        raced=measured.__contains__,
        source_allowed=precision in (None, model.precision),
        constraints=constraints,
    )
    findings = Findings(
        rows=rows,
        source=model,
        found=Found(tuple(trials), choice, {}, measured, failures),
        work=None,
        hardware=hardware,
        objective=objective,
        metric=bench.quality.metric,
    )
    chosen = keep(fit[choice.name], into) if choice.name != SOURCE else model
    best = measured.get(choice.name)
    # ONNX Runtime's own number where nothing was timed for a CPU.
    threads = best.best(objective).threads if best else (0 if engine.of_library else 1)
    progress.advance("tuning", 0, 0)
    tuned = (
        timing.tuned(chosen, hardware, threads, record)
        if timed
        else Failure(_untimed(hardware, engine))
    )
    golden: Path | Failure = Failure("; ".join(bench.generation.decoder.unknown))
    if not bench.generation.decoder.unknown:
        golden = golden_answers(
            bench.workshop,
            answer_task(bench.generation, chosen, bench.golden),
            into / GOLDEN_FILE,
        )
    if isinstance(golden, Failure):
        progress.note(f"no golden answers: {golden.reason}")
    shown, front = table(findings)
    price = next((row.estimate for row in shown if row.name == choice.name), None)
    settings = generation_settings(
        bench.generation,
        best,
        threads,
        tuned,
        hardware,
        chosen,
        price.cost_usd_per_million if price else None,
        engine,
    )
    record = record.having(measured.values())
    if isinstance(tuned, TextRow):
        record = record.having_texts([tuned])
    return (
        OptimizedModel(
            source=model,
            model=chosen,
            candidates=shown,
            where=where(hardware, measured) if timed else _untimed(hardware, engine),
            golden=None if isinstance(golden, Failure) else golden,
            intra_op_threads=threads,
            tools=tools(),
            hardware=hardware.id,
            budget=bench.quality,
            objective=objective,
            samples=bench.prompts.uses(),
            constraints=constraints,
            front_axes=front.axes,
            accompanying=accompanying(
                bench.generation.decoder.folder, settings.drafting, into, engine
            ),
            generation=settings,
            held_bytes=settings.cache_bytes()
            + (settings.drafting.weights if settings.drafting else 0),
        ),
        record,
    )


def _untimed(hardware: HardwareProfile, engine: TextEngine) -> str:
    if not measurable(hardware):
        return where(hardware, {})
    return f"not measured: {engine.value} is not timed while packaging"


def _attempt(bench: TextBench, recipe: Recipe, precision: Precision | None) -> Trial:
    if precision not in (None, recipe.precision):
        return Trial(recipe, None, Judgement(False, f"the release pins {precision}"))
    if bench.generation.decoder.unknown:
        told = "; ".join(bench.generation.decoder.unknown)
        return Trial(recipe, None, Judgement(False, f"it cannot be judged here: {told}"))
    if bench.heard is None:
        told = "its quality cannot be proved without prompts; name them in model.samples"
        return Trial(recipe, None, Judgement(False, told))
    workshop = bench.workshop
    made = workshop.make(recipe, workshop.workers.limits)
    if isinstance(made, Failure):
        return Trial(recipe, made, Judgement(False, made.reason))
    result = workshop.workers.do(
        f"heard-{recipe.name}",
        judge_task(bench.generation, made.model, bench.judging, bench.answers),
        workshop.folder,
    )
    if isinstance(result, Failure):
        return Trial(recipe, result, Judgement(False, result.reason))
    heard = heard_of(result, bench.judging, bench.answers)
    most = bench.generation.perplexity_at_most
    return Trial(recipe, made, judge_text(bench.heard, heard, bench.quality.bound, most))


def _timed(
    timing: Timing,
    models: Mapping[str, Model],
    hardware: HardwareProfile,
    record: MeasurementRecord,
    progress: Progress,
) -> tuple[dict[str, Row], dict[str, Failure]]:
    rows: dict[str, Row] = {}
    failures: dict[str, Failure] = {}
    source = models[SOURCE]
    for number, (name, model) in enumerate(sorted(models.items())):
        progress.advance(f"measuring {name}", number, len(models))
        found = timing.row(name, source, model, hardware, record)
        if isinstance(found, Failure):
            failures[name] = found
        else:
            rows[name] = found
    return rows, failures
