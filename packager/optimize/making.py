"""Makes each candidate and lets it answer the evaluation samples, each step in its own process.

A candidate that cannot be made, does not load, changes the model's signature or breaks while
running is a row with a reason. Only when the source itself cannot run is there nothing to ship.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from packager.digest import Digest
from packager.domain.hardware import Precision
from packager.domain.model import Model, TensorSpec
from packager.errors import InputError
from packager.optimize import ragged
from packager.optimize.foreign_words import first_line
from packager.optimize.in_batches import ROWS, Batch, taken_out
from packager.optimize.npz import Array, read_npz, write_npz
from packager.optimize.processes import Failure, Limits, Workers
from packager.optimize.reading import PROTOBUF_LIMIT, load_graph, read_model
from packager.optimize.recipes import TWIN, Recipe
from packager.optimize.samples import Samples
from packager.optimize.tables import STREAMING, has_tables
from packager.optimize.task import Task

GRAPH_FILE, COPIED = "model.onnx", "source-copy.onnx"
LAYER_SAMPLES = 4
READ_ONLY = frozenset(("graph_optimization", "store_half", "block_weights"))
"""Passes that write nothing beside what they read: weights beside a graph need not be copied."""
SHARED_FROM = 128
"""Samples from which on several processes share the source's answers."""
UNSCORED = "the task's metric cannot score it: "
PLUGIN_FILE, LABELS_FILE = "task.py", "labels.npz"


@dataclass(frozen=True, slots=True)
class Made:
    """A candidate that exists: its files, what its making left to tell, and the graph on which it
    is judged (its own, or a twin that emulates the target's arithmetic)."""

    model: Model
    judged: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """What a graph gave: outputs by name, first axis the samples, and the seconds it took;
    `scores` where the user's metric scored them. `resident_bytes` is what loading the graph and
    the first answer took of memory."""

    outputs: dict[str, Array]
    seconds: float
    scores: Array | None = None
    resident_bytes: int | None = None
    batch: Batch | None = None
    """The first rows once more, at once; None where that was not asked."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all candidates of one model share: source, samples, scratch space, limits."""

    source: Model
    external: bool
    samples: Samples
    folder: Path
    workers: Workers
    task: Task | None = None

    @classmethod
    def open(
        cls,
        source: Model,
        samples: Samples,
        folder: Path,
        workers: Workers,
        task: Task | None = None,
    ) -> Workshop:
        """Lay the samples out for the workers in `folder`, and the user's metric."""
        if task:
            (folder / PLUGIN_FILE).write_bytes(task.text)
            write_npz(folder / LABELS_FILE, task.part(samples.evaluation))
        write_npz(folder / "calibration.npz", samples.part(samples.calibration))
        write_npz(folder / "evaluation.npz", samples.part(samples.evaluation))
        external = len(source.files) > 1 or source.size > PROTOBUF_LIMIT // 2
        if len(source.files) == 1:
            shutil.copyfile(source.files[0].path, folder / COPIED)
        sized = workers.within(workers.limits.for_model(source.size))
        return cls(source, external, samples, folder, sized, task)

    def run_source(self) -> Answers:
        """The source's own outputs. Raises InputError when ONNX Runtime cannot run it."""
        outcome = self._source_answers()
        if isinstance(outcome, Failure) and outcome.reason.startswith(UNSCORED):
            raise InputError(
                "the task's metric cannot score the model as it came",
                where="quality.plugin",
                expected="score(outputs, labels) gives a number from 0 to 1 for each sample",
                got=outcome.reason.removeprefix(UNSCORED),
            )
        if isinstance(outcome, Failure):
            raise InputError(
                "ONNX Runtime cannot run the model",
                where=str(self.source.files[0].path),
                expected="a model that loads and answers the samples",
                got=outcome.reason,
                next_step="check the model with onnxruntime alone; its operators and opset must be"
                " ones that this version knows",
            )
        return outcome

    def _source_answers(self) -> Answers | Failure:
        """In parts at the same time, where that is worth another session."""
        total, graph = len(self.samples.evaluation), self.source.files[0].path
        shares = self.workers.at_once if total >= SHARED_FROM and not self.external else 1
        stops = [total * share // shares for share in range(1, shares + 1)]
        names = ["source", *(f"source-{share}" for share in range(1, shares))]
        with ThreadPoolExecutor(max_workers=shares) as pool:
            ask = partial(self.answer, graph=graph)
            parts = list(
                pool.map(
                    lambda one: ask(one[0], start=one[1], stop=one[2]),
                    zip(names, [0, *stops], stops, strict=False),
                )
            )
        failures = [part for part in parts if isinstance(part, Failure)]
        answers = [part for part in parts if isinstance(part, Answers)]
        return failures[0] if failures else joined(answers)

    def _own_source(self, name: str) -> Path:
        """The model in a folder of the candidate's own: quantizers write files beside what they
        read, and that must be neither the user's folder nor another candidate's. Weights beside
        the graph are copied, since onnx refuses external data with several hard links; a graph
        alone is copied once and linked."""
        folder = self.folder / f"{name}-source"
        for file in self.source.files:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if len(self.source.files) == 1 and self.copied.exists():
                target.hardlink_to(self.copied)
            else:
                shutil.copyfile(file.path, target)
        return folder / self.source.files[0].name

    def _has_tables(self) -> bool:
        graph = self.source.files[0].path
        return has_tables(load_graph(graph), graph.parent)

    @property
    def copied(self) -> Path:
        """The source's graph in our own scratch space."""
        return self.folder / COPIED

    def make(self, recipe: Recipe, patience: Limits) -> Made | Failure:
        """Make a candidate within `patience`; its folder is named by what is done to the model."""
        name = folder_name(recipe)
        target = self.folder / name / GRAPH_FILE
        target.parent.mkdir()
        steps = [step.name for step in recipe.passes]
        aside = self.external and STREAMING.issuperset(steps) and self._has_tables()
        shared = aside or (self.external and steps[0] in READ_ONLY)
        own = self.source.files[0].path if shared else self._own_source(name)
        task = {
            "task": "make",
            "source": str(own),
            "aside": aside,
            "target": str(target),
            "external": self.external,
            "passes": [
                {"name": step.name, "parameters": dict(step.parameters)} for step in recipe.passes
            ],
            **self._samples("calibration", 0, len(self.samples.calibration)),
        }
        result = self.workers.within(patience).do(f"make-{name}", task, self.folder)
        shutil.rmtree(self.folder / f"{name}-source", ignore_errors=True)
        if isinstance(result, Failure):
            return Failure(f"could not be made: {result.reason}")
        try:
            model = read_model(target, made_here=True)
        except InputError as error:
            finding = error.findings[0]
            return Failure(f"is not a valid model: {finding.what}: {finding.got}")
        if not same_signature(self.source, model):
            return Failure("its inputs and outputs are not those of the source")
        if recipe.precision is Precision.FP16 and recipe.emulated:
            # the twin is judged, but what is shipped must load and run as well
            first = self.answer(f"{name}-itself", target, 0, 1, patience)
            if isinstance(first, Failure):
                return first
        judged = target.with_name(TWIN) if recipe.emulated else target
        return Made(model, judged, tuple(map(str, result.get("notes", ()))))

    def answer(
        self, name: str, graph: Path, start: int, stop: int, patience: Limits | None = None
    ) -> Answers | Failure:
        """Let `graph` answer the held-out samples from `start` up to `stop`."""
        workers = self.workers.within(patience) if patience else self.workers
        target = self.folder / f"{name}.outputs.npz"
        task = {
            "task": "run",
            "model": str(graph),
            "target": str(target),
            "at_once": False,
            "batch": ROWS if start == 0 and self._takes_batches() else 0,
            **self._samples("evaluation", start, stop),
        }
        target.unlink(missing_ok=True)  # of an earlier part: nobody may take it for this one's
        result = workers.do(f"run-{name}", task, self.folder)
        if isinstance(result, Failure):
            return Failure(f"does not run: {result.reason}")
        try:
            answers = _answers(target, result)
        except Exception as error:  # whatever a reader of .npz stumbles over
            return Failure(f"gave no readable answers: {first_line(str(error))}")
        return self._scored(name, target, answers, start, stop) if self.task else answers

    def _takes_batches(self) -> bool:
        free = all(spec.shape[:1] == (-1,) for spec in self.source.inputs)
        return free and self.samples.stackable

    def _scored(
        self, name: str, outputs: Path, answers: Answers, start: int, stop: int
    ) -> Answers | Failure:
        """The answers with the scores that the user's metric gives them."""
        target = self.folder / f"{name}.scores.npz"
        task = {
            "task": "score",
            "plugin": str(self.folder / PLUGIN_FILE),
            "labels": str(self.folder / LABELS_FILE),
            "outputs": str(outputs),
            "target": str(target),
            "start": start,
            "stop": stop,
        }
        target.unlink(missing_ok=True)
        result = self.workers.do(f"score-{name}", task, self.folder)
        if isinstance(result, Failure):
            return Failure(f"{UNSCORED}{result.reason}")
        try:
            return replace(answers, scores=read_npz(target)["scores"])
        except Exception as error:  # as above
            return Failure(f"{UNSCORED}gave no readable scores: {first_line(str(error))}")

    def layers(self, made: Made) -> tuple[tuple[str, float], ...]:
        """Tensor and its signal-to-noise ratio against the source; nothing when it cannot be told.

        The source is read from a copy: the graph with more outputs is written beside it.
        """
        own = self._own_source("layers")
        task = {
            "task": "layers",
            "source": str(own),
            "candidate": str(made.judged),
            **self._samples("evaluation", 0, min(LAYER_SAMPLES, len(self.samples.evaluation))),
        }
        result = self.workers.do("layers", task, self.folder)
        shutil.rmtree(own.parent, ignore_errors=True)
        if isinstance(result, Failure):
            return ()
        return tuple((str(name), float(value)) for name, value in result["layers"])

    def _samples(self, part: str, start: int, stop: int) -> dict[str, Any]:
        if stop <= start:
            return {}
        return {
            "samples": str(self.folder / f"{part}.npz"),
            "batched": dict(self.samples.batched),
            "start": start,
            "stop": stop,
        }


def _answers(target: Path, result: dict[str, Any]) -> Answers:
    outputs = read_npz(target)
    batch = taken_out(outputs, str(result.get("batch", "")))
    return Answers(
        outputs,
        float(result["seconds"]),
        resident_bytes=result.get("resident_bytes"),
        batch=batch,
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of all parts; of an output that changed its form midway nothing is left, which
    the gate calls a defect."""
    scores = [part.scores for part in parts if part.scores is not None]
    try:
        outputs = ragged.joined([part.outputs for part in parts])
    except (ValueError, KeyError):
        outputs = {}
    whole = np.concatenate(scores) if len(scores) == len(parts) else None
    seconds = sum(part.seconds for part in parts)
    return Answers(outputs, seconds, whole, parts[0].resident_bytes, parts[0].batch)


def folder_name(recipe: Recipe) -> str:
    """One name for one way of making; recipes of several profiles may share it."""
    told = " ".join(map(str, recipe.passes))
    return f"{recipe.name}-{Digest.of(told.encode()).hex[:12]}"


def same_signature(source: Model, candidate: Model) -> bool:
    """Whether both take and give the same tensors; a candidate may know a dimension better."""
    return _same(source.inputs, candidate.inputs) and _same(source.outputs, candidate.outputs)


def _same(ours: tuple[TensorSpec, ...], theirs: tuple[TensorSpec, ...]) -> bool:
    if [(spec.name, spec.datatype) for spec in ours] != [(s.name, s.datatype) for s in theirs]:
        return False
    return all(
        len(a.shape) == len(b.shape)
        and all(-1 in (x, y) or x == y for x, y in zip(a.shape, b.shape, strict=True))
        for a, b in zip(ours, theirs, strict=True)
    )
