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
from packager.domain.model import Metric, Model, QualityBudget
from packager.errors import InputError
from packager.optimize.gate import Judgement, Scores, hopeless, is_lossless, judge
from packager.optimize.making import Answers, Made, Workshop, folder_name, joined
from packager.optimize.npz import Array
from packager.optimize.processes import Failure, Limits, Workers
from packager.optimize.recipes import Recipe
from packager.optimize.samples import Samples, synthetic_samples
from packager.optimize.sufficiency import too_few
from packager.optimize.task import Task, scores_of
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

RUNGS = (16, 4)
"""The first part of the held-out samples is a sixteenth of them, the second goes to a quarter."""
RUNG_AT_LEAST, SECOND_AT_LEAST = 32, 128
"""What is smaller is not worth another session."""


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
    held = _Held(answers.outputs, answers.outputs, _own_scores(answers))
    few = held.too_few(quality, len(workshop.samples.evaluation))
    if few and not workshop.samples.synthetic:
        progress.note(f"{few}; until then only what equals the source up to rounding can be chosen")
    return Bench(workshop, answers, quality)


def _own_scores(answers: Answers) -> Scores | None:
    return None if answers.scores is None else scores_of(answers.scores, answers.scores)


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
        resident = resident or part.resident_bytes
        held = _held_against(bench, parts, stop)
        if stop == total:
            break
        judgement = held.judge(bench.quality)
        if recipe.lossless and is_lossless(held.reference, held.outputs):
            told = f"equal to the source up to rounding on {stop} samples"
            shown = None if workshop.samples.synthetic else judgement.quality
            return Trial(recipe, made, Judgement(True, told, shown), (), resident)
        if held.hopeless(bench.quality, total):
            few = judgement.quality and held.too_few(bench.quality, total)
            told = few or _lost(judgement, bench.quality, stop, total)
            return Trial(recipe, made, Judgement(False, told, judgement.quality))
        if first:
            told = f"its quality was looked at on {stop} of {total} samples only"
            open_still = Judgement(False, told, judgement.quality)
            return Trial(recipe, made, open_still, tuple(parts), resident)
    judgement = _judge(recipe, held, workshop.samples, bench)
    return Trial(recipe, made, judgement, (), resident)


def _lost(judgement: Judgement, budget: QualityBudget, stop: int, total: int) -> str:
    """Why the rest of the samples is not asked."""
    quality = judgement.quality
    if quality is None:
        return judgement.reason
    if budget.metric in (Metric.TOP1_AGREEMENT, Metric.TASK):
        return f"{judgement.reason}; the other {total - stop} cannot make up for it"
    return (
        f"on {stop} of {total} samples {budget.metric.value} is beyond the budget of {budget.bound}"
        f" too often already, at worst {quality.bound}; the others cannot make up for it"
    )


def rungs(total: int) -> list[tuple[int, int]]:
    """Where each part of `total` samples starts and stops: 1685 → 0–105, 105–421, 421–1685."""
    first, second = (total // divisor for divisor in RUNGS)
    wanted = [max(RUNG_AT_LEAST, first), *([second] if second >= SECOND_AT_LEAST else [])]
    stops = [stop for stop in wanted if 2 * stop <= total]
    return list(zip([0, *stops], [*stops, total], strict=True))


@dataclass(frozen=True, slots=True)
class _Held:
    """A candidate's answers so far beside the source's, with the scores of a task."""

    reference: dict[str, Array]
    outputs: dict[str, Array]
    scores: Scores | None

    def judge(self, budget: QualityBudget) -> Judgement:
        return judge(self.reference, self.outputs, budget, self.scores)

    def hopeless(self, budget: QualityBudget, total: int) -> bool:
        return hopeless(self.reference, self.outputs, total, budget, self.scores)

    def too_few(self, budget: QualityBudget, total: int) -> str | None:
        whole = self.scores is None or self.scores.whole
        return too_few(total, budget, whole=whole)


def _held_against(bench: Bench, parts: list[Answers], stop: int) -> _Held:
    reference = {name: array[:stop] for name, array in bench.source.outputs.items()}
    own = joined(parts)
    scores = None
    if bench.source.scores is not None and own.scores is not None:
        scores = scores_of(bench.source.scores[:stop], own.scores)
    return _Held(reference, own.outputs, scores)


def _judge(recipe: Recipe, held: _Held, samples: Samples, bench: Bench) -> Judgement:
    judgement = held.judge(bench.quality)
    if recipe.lossless and is_lossless(held.reference, held.outputs):
        count = len(samples.evaluation)
        shown = None if samples.synthetic else judgement.quality
        return Judgement(True, f"equal to the source up to rounding on {count} samples", shown)
    if samples.synthetic:
        return Judgement(
            False, "its quality cannot be proved without samples; name them in model.samples"
        )
    few = judgement.quality and held.too_few(bench.quality, len(samples.evaluation))
    return judgement if judgement.passed or not few else replace(judgement, reason=few)
