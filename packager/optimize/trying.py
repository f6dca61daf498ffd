"""Tries every recipe: made, run and judged, several at a time, none able to end the run.

The source goes first: its answers are what all others are held against. Candidates answer the
held-out samples in rungs: `try_all` makes them and asks the first part, `prove` the rest of those
that the search wants to know all about. One that can no longer keep to the budget, whatever the
rest gives, is asked no further, and neither is one that by its making differs by rounding alone and
was seen to. What one profile made serves the next as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from packager.domain.hardware import Precision
from packager.domain.model import Model, QualityBudget
from packager.errors import InputError
from packager.optimize.gate import Judgement, is_lossless
from packager.optimize.holding import held_against, lost, rungs, verdict
from packager.optimize.in_batches import DEPENDS, rows_are_alone, wrong_together
from packager.optimize.making import Answers, Made, Workshop, folder_name
from packager.optimize.processes import Failure, Limits, Workers
from packager.optimize.recipes import Recipe
from packager.optimize.samples import Samples, synthetic_samples
from packager.optimize.task import Task
from packager.progress import Progress

_Given = TypeVar("_Given")

SYNTHETIC_COUNT = 24
SYNTHETIC_SIZES = (32, 1, 224)
"""Sizes that are tried for free dimensions when there are no samples."""

# A candidate that takes this many times longer than the source is no candidate.
PATIENCE_FACTOR = 20
PATIENCE_SECONDS = 120
PATIENCE_BYTES_PER_SECOND = 10_000_000
"""And what is large is read and written several times, on a slow disk that others use."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe with what became of it so far; `outcome` is None when it was not even made."""

    recipe: Recipe
    outcome: Made | Failure | None
    judgement: Judgement
    parts: tuple[Answers, ...] = ()
    """What it answered so far, where the rest is still open; then the judgement is none."""
    resident_bytes: int | None = None

    @property
    def eligible(self) -> bool:
        return isinstance(self.outcome, Made) and self.judgement.passed

    @property
    def open(self) -> bool:
        return bool(self.parts)

    @property
    def is_deferred(self) -> bool:
        return self.outcome is None and self.judgement == Trial.deferred(self.recipe).judgement

    @classmethod
    def deferred(cls, recipe: Recipe) -> Trial:
        """One that is made when it can be the choice."""
        return cls(recipe, None, Judgement(False, f"not made: {recipe.keeps_speed}"))


@dataclass(frozen=True, slots=True)
class Bench:
    """One model, opened once for all profiles: the source's answers, and what was tried and proved
    so far."""

    workshop: Workshop
    source: Answers
    quality: QualityBudget
    tried: dict[str, Trial] = field(default_factory=dict, compare=False)
    proved: dict[str, Trial] = field(default_factory=dict, compare=False)

    @property
    def rows_are_alone(self) -> bool:
        """Whether the rows of a batch have nothing to do with each other."""
        return rows_are_alone(self.source.outputs, self.source.batch)


def open_bench(
    model: Model,
    samples: Samples | None,
    quality: QualityBudget,
    scratch: Path,
    workers: Workers,
    progress: Progress,
    task: Task | None = None,
) -> Bench:
    """Run the source on the samples, or on made-up ones of a size that it takes.

    Raises InputError when ONNX Runtime cannot run it, or the task's metric cannot score it.
    """
    _refuse_bf16_outputs(model)
    progress.advance("running the source", 0, 0)
    if samples is not None:
        workshop = Workshop.open(model, samples, scratch, workers, task)
        return _opened(workshop, quality, progress)
    refused: InputError | None = None
    for size in SYNTHETIC_SIZES:
        folder = scratch / f"size-{size}"
        folder.mkdir()
        try:
            made_up = synthetic_samples(model, SYNTHETIC_COUNT, size)
        except InputError as error:  # what the engine said of a smaller size tells more
            raise refused or error from None
        workshop = Workshop.open(model, made_up, folder, workers)
        try:
            return _opened(workshop, quality, progress)
        except InputError as error:
            refused = error
            if size == SYNTHETIC_SIZES[-1]:
                raise
    raise AssertionError("unreachable: the last size raises")


def _refuse_bf16_outputs(model: Model) -> None:
    """Raises InputError: the engine gives no such value to Python."""
    if outputs := [spec.name for spec in model.outputs if spec.datatype == "BF16"]:
        raise InputError(
            "a model whose outputs are BF16 cannot be tried here",
            where=f"output {outputs[0]!r} of the model",
            expected="outputs of a type that numpy has",
            got="BF16",
            next_step="export it so that it casts its outputs to FP32 or FP16",
        )


def _opened(workshop: Workshop, quality: QualityBudget, progress: Progress) -> Bench:
    """Raises InputError as `run_source` does. An output that is not what the model declares is
    told: the engine minds it not, and clients are told what is declared."""
    answers = workshop.run_source()
    for spec in workshop.source.outputs:
        if spec.name not in answers.outputs:
            continue
        got = answers.outputs[spec.name].shape[1:]
        fits = len(got) == len(spec.shape) and all(
            declared in (-1, size) for declared, size in zip(spec.shape, got, strict=True)
        )
        if not fits:
            declared = list(spec.shape)
            told = f"output {spec.name!r} is declared as {declared} and comes as {list(got)}"
            progress.note(f"{told}: mend the declaration, which is what clients are told")
    held = held_against(answers, [answers], len(workshop.samples.evaluation))
    few = held.too_few(quality, len(workshop.samples.evaluation))
    if few and not workshop.samples.synthetic:
        progress.note(f"{few}; until then only what equals the source up to rounding can be chosen")
    bench = Bench(workshop, answers, quality)
    if not bench.rows_are_alone:
        progress.note(f"nothing lossy is chosen: {DEPENDS}")
    return bench


def try_all(
    recipes: tuple[Recipe, ...], bench: Bench, precision: Precision | None, progress: Progress
) -> list[Trial]:
    """Make recipes and look at their quality, several at a time; results in the order given."""

    def attempt(recipe: Recipe) -> Trial:
        if precision not in (None, recipe.precision):
            return Trial(recipe, None, Judgement(False, f"the release pins {precision}"))
        known = bench.tried.get(folder_name(recipe))
        if known is None:
            known = bench.tried[folder_name(recipe)] = _attempt(recipe, bench)
        return replace(known, recipe=recipe)

    return _several(attempt, recipes, bench, progress, "tried")


def prove(trials: Iterable[Trial], bench: Bench, progress: Progress) -> list[Trial]:
    """Ask the rest of the samples of those that are open, and judge."""

    def finish(trial: Trial) -> Trial:
        name = folder_name(trial.recipe)
        known = bench.proved.get(name)
        if known is None:
            known = bench.proved[name] = _asked(trial, bench, first=False)
        return replace(known, recipe=trial.recipe)

    return _several(finish, tuple(trials), bench, progress, "judged")


def _several(
    do: Callable[[_Given], Trial],
    given: tuple[_Given, ...],
    bench: Bench,
    progress: Progress,
    word: str,
) -> list[Trial]:
    trials: list[Trial] = []
    with ThreadPoolExecutor(max_workers=bench.workshop.workers.at_once) as pool:
        try:
            for done, trial in enumerate(pool.map(do, given), start=1):
                trials.append(trial)
                progress.outcome(*_told(trial, bench.workshop.source))
                progress.advance(f"{word} {trial.recipe.name}", done, len(given))
        except BaseException:
            bench.workshop.workers.stop()
            raise
    return trials


def _told(trial: Trial, source: Model) -> tuple[str, str, str]:
    """Name, state and a few words, for the table that grows while candidates are tried."""
    made = trial.outcome
    if not isinstance(made, Made):
        state = "left out" if made is None else "failed"
        return trial.recipe.name, state, trial.judgement.reason
    size = f"{source.size / made.model.size:.2f}× smaller; "
    return (
        trial.recipe.name,
        "looked at" if trial.open else "fits" if trial.eligible else "rejected",
        size + trial.judgement.reason,
    )


def _attempt(recipe: Recipe, bench: Bench) -> Trial:
    made = bench.workshop.make(recipe, _patience(bench))
    if isinstance(made, Failure):
        return Trial(recipe, made, Judgement(False, made.reason))
    return _asked(Trial(recipe, made, Judgement(False, "")), bench, first=True)


def _patience(bench: Bench) -> Limits:
    bounds = bench.workshop.workers.limits
    seconds = max(PATIENCE_SECONDS, int(PATIENCE_FACTOR * bench.source.seconds))
    seconds += bench.workshop.source.size // PATIENCE_BYTES_PER_SECOND
    return Limits(min(seconds, bounds.seconds), bounds.memory_bytes)


def _wrong_together(recipe: Recipe, first: Answers, bench: Bench) -> str | None:
    """Why rows may not be put together. Where they may not with the source either, one that loses
    something is refused for that."""
    if not (recipe.lossless or bench.rows_are_alone):
        return None
    return wrong_together(first.outputs, first.batch, bench.source.outputs, bench.source.batch)


def _asked(trial: Trial, bench: Bench, *, first: bool) -> Trial:
    """Let a candidate answer the next part of the samples, or all that is left, and judge it."""
    recipe, made, workshop, parts = trial.recipe, trial.outcome, bench.workshop, list(trial.parts)
    if not isinstance(made, Made):
        return trial
    total, resident = len(workshop.samples.evaluation), trial.resident_bytes
    for start, stop in rungs(total)[len(parts) :]:
        part = workshop.answer(folder_name(recipe), made.judged, start, stop, _patience(bench))
        if isinstance(part, Failure):
            return Trial(recipe, part, Judgement(False, part.reason))
        parts.append(part)
        if reason := _wrong_together(recipe, parts[0], bench):
            return Trial(recipe, made, Judgement(False, reason))
        resident = resident or part.resident_bytes
        held = held_against(bench.source, parts, stop)
        if stop == total:
            break
        judgement = held.judge(bench.quality)
        if recipe.lossless and is_lossless(held.reference, held.outputs):
            told = f"equal to the source up to rounding on {stop} samples"
            shown = None if workshop.samples.synthetic else judgement.quality
            return Trial(recipe, made, Judgement(True, told, shown), (), resident)
        if held.hopeless(bench.quality, total):
            few = judgement.quality and held.too_few(bench.quality, total)
            told = few or lost(judgement, bench.quality, stop, total)
            return Trial(recipe, made, Judgement(False, told, judgement.quality))
        if not (recipe.lossless or bench.rows_are_alone or workshop.samples.synthetic):
            return Trial(recipe, made, Judgement(False, DEPENDS, judgement.quality))
        if first:
            told = f"its quality was looked at on {stop} of {total} samples only"
            open_still = Judgement(False, told, judgement.quality)
            return Trial(recipe, made, open_still, tuple(parts), resident)
    judgement = verdict(recipe, held, workshop.samples, bench.quality, alone=bench.rows_are_alone)
    return Trial(recipe, made, judgement, (), resident)
