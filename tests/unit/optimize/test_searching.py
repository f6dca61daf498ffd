"""The search against looking at everything: on tables of candidates whose every figure is known, it
ends with the same choice and nearly the same front, for a fraction of the measuring."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Model, ModelFile, Objective
from packager.optimize import searching, stopwatch
from packager.optimize.choosing import Contender, choose
from packager.optimize.front import Front, Point, pareto_front
from packager.optimize.gate import Judgement
from packager.optimize.making import Answers, Made
from packager.optimize.processes import Failure
from packager.optimize.racing import MARGIN
from packager.optimize.recipes import Pass, Recipe
from packager.optimize.record import MeasurementRecord, measurement
from packager.optimize.searching import Found, Search
from packager.optimize.trying import Trial
from packager.progress import SILENT

CELLS = tuple(itertools.product((1, 2), (1, 4, 16)))
ROUNDS = {True: 5, False: 15}
BATCH_ROUNDS = {True: 3, False: 5}
FULL = 2 * ROUNDS[False] + 4 * BATCH_ROUNDS[False]
"""Rounds of one candidate over all cells: one evaluation."""


@dataclass(frozen=True)
class Known:
    """All that could be found out about a candidate: its ratio to the source in each cell, its
    bytes, whether it keeps to the budget, and whether the first samples tell that it does not."""

    ratios: Mapping[tuple[int, int], float]
    size: int
    fits: bool = True
    refused_at_once: bool = False
    lossless: bool = False


Table = dict[str, Known]


def _model(name: str, size: int) -> Model:
    file = ModelFile("model.onnx", Path(f"{name}/model.onnx"), Digest.of(name.encode()), size)
    return Model((file,), (), (), 17, Precision.FP32)


class _Laboratory:
    """Stands for workshop, workers and bench; tells what the table has and counts what is asked."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.source = _model("source", 1000)
        self.samples = type("S", (), {"stackable": True, "evaluation": (), "batched": {}})()
        self.folder = Path()
        self.workers = self
        self.local = False
        self.bench = SimpleNamespace(workshop=self, source=Answers({}, 1.0))
        self.rounds = dict.fromkeys(table, 0)
        self.proved: set[str] = set()
        self.broken: set[str] = set()

    def do(self, name: str, task: dict, folder: Path) -> dict | Failure:
        if task["task"] == "duel":
            return self._duel(name.removeprefix("duel-").split("-"), task)
        if task["task"] == "callers":
            return {"gain": 2.0, "least": 1.2 if name.endswith("1") else 1.8}
        name = name.removeprefix("measure-")
        if name in self.broken and task["pace"] != "look":
            return Failure("its process was ended by SIGSEGV")
        figures = []
        swept = [(2, batch) for batch in task["sweep"]]  # two threads are best at everything here
        for threads, batch in [*task["cells"], *swept]:
            ratio = 1.0 if name == "source" else self.table[name].ratios[threads, batch]
            look = task["pace"] == "look"
            rounds = (ROUNDS if batch == 1 else BATCH_ROUNDS)[look]
            if name != "source":
                self.rounds[name] += rounds
            told = {"threads": threads, "batch": batch, "rounds": rounds}
            told |= {"throughput_per_s": 100 * ratio * threads * batch, "throughput_speedup": ratio}
            if batch == 1 or swept:
                p50 = 10 / ratio / threads
                told |= {"latency_p50_ms": p50, "latency_p99_ms": p50, "latency_speedup": ratio}
            figures.append(told)
        return {"figures": figures, "between": (1.0, 1.0), "load_ms": 1.0, "resident_bytes": 1}

    def _duel(self, names: list[str], task: dict) -> dict | Failure:
        """Both are told in full."""
        if self.broken & {*names}:
            return Failure("its process was ended by SIGSEGV")
        alone = [
            self.do(
                name, {"task": "measure", "cells": [cell], "pace": "close", "sweep": []}, Path()
            )
            for name, cell in zip(names, task["cells"], strict=True)
        ]
        return {"sides": alone, "between": (1.0, 1.0)}

    def tried(self, recipes: tuple[Recipe, ...], *_: object) -> list[Trial]:
        trials = []
        for recipe in recipes:
            known = self.table[recipe.name]
            made = Made(_model(recipe.name, known.size), Path())
            if known.lossless:
                trials.append(Trial(recipe, made, Judgement(True, "equal")))
            elif known.refused_at_once:
                trials.append(Trial(recipe, made, Judgement(False, "too often")))
            else:
                seen = Judgement(False, "looked at")
                trials.append(Trial(recipe, made, seen, (Answers({}, 1.0),)))
        return trials

    def prove(self, trials: list[Trial], *_: object) -> list[Trial]:
        self.proved |= {trial.recipe.name for trial in trials}
        return [
            Trial(one.recipe, one.outcome, Judgement(self.table[one.recipe.name].fits, "asked all"))
            for one in trials
        ]


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "thread_counts", lambda: (1, 2))
    monkeypatch.setattr(stopwatch, "batches", lambda *_, **__: (1, 4, 16))


def _search(
    laboratory: _Laboratory,
    hardware: HardwareProfile,
    objective: Objective,
    record: MeasurementRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, Found]:
    monkeypatch.setattr(searching, "try_all", laboratory.tried)
    monkeypatch.setattr(searching, "prove", laboratory.prove)
    recipes = tuple(
        Recipe(name, Precision.INT8, known.lossless, (Pass(name),))
        for name, known in laboratory.table.items()
    )
    search = Search.begin(recipes, laboratory.bench, hardware, objective, record, SILENT)
    while True:
        found = search.settle()
        front = _seen_front(laboratory.table, found, objective)
        if not search.need(set(front.dominated_by.values()) & set(found.outpaced)):
            return found.choice.name, found


def _seen_front(table: Table, found: Found, objective: Objective) -> Front:
    """The front of what the search knows."""
    standing = {
        trial.recipe.name: found.measured[trial.recipe.name]
        for trial in found.trials
        if (trial.eligible or trial.open) and trial.recipe.name in found.measured
    }
    points = [
        Point(name, {"throughput": measurement(row, objective).speedup, "size": table[name].size})
        for name, row in standing.items()
    ]
    return pareto_front([*points, Point("source", {"throughput": 1.0, "size": 1000})])


def _by_all(table: Table, objective: Objective) -> str:
    """The choice of whoever measures everything."""
    cell = (2, 1) if objective is Objective.LATENCY else (2, 16)
    fit = {name: one for name, one in table.items() if one.lossless or one.fits}
    contenders = [
        Contender(name, one.lossless, one.size, one.ratios[cell])
        for name, one in fit.items()
        if not one.refused_at_once
    ]
    return choose(Contender("source", True, 1000, 1.0), contenders, objective).name


def _drawn(seed: int, count: int) -> Table:
    """Candidates of all speeds and sizes; cells differ from the first by less than the margin."""
    draw = random.Random(seed)
    table: Table = {}
    for number in range(count):
        first = 0.3 * 13 ** draw.random()
        drift = {cell: draw.uniform(0.95, 1.05) for cell in CELLS} | {(1, 1): 1.0}
        lossless = draw.random() < 0.1
        fits = lossless or draw.random() < 0.6
        table[f"c{number}"] = Known(
            {cell: round(first * by, 3) for cell, by in drift.items()},
            draw.randint(200, 1100),
            fits,
            not fits and draw.random() < 0.5,
            lossless,
        )
    return table


def _recorded() -> dict[str, Table]:
    """The tables of benchmarks/optimize/search.py, measured over all cells."""
    file = Path(__file__).parents[3] / "benchmarks/optimize/results/search.json"
    told = json.loads(file.read_text())
    tables = {}
    for model, result in told.items():
        table: Table = {}
        for name, own in result["candidates"].items():
            if name == "source":
                continue
            cells = {
                (threads, batch): own.get(f"{threads} threads, batch {batch}", 0.2)
                for threads, batch in CELLS
            }
            lossless = name in ("fused", "graph-extended")
            table[name] = Known(cells, result["sizes"][name], lossless=lossless)
        tables[model] = table
    return tables


def _front(table: Table, names: set[str], objective: Objective) -> tuple[set[str], float]:
    """Names on the front of `names` by all there is to know, and the volume below it."""
    cell = (2, 1) if objective is Objective.LATENCY else (2, 16)
    points = {"source": (1.0, 1 / 1000)} | {
        name: (table[name].ratios[cell], 1 / table[name].size) for name in names
    }
    front = pareto_front(
        Point(name, {"throughput": speed, "size": 1 / small})
        for name, (speed, small) in points.items()
    )
    volume, reached = 0.0, 0.0
    for speed, small in sorted((points[name] for name in front.names), reverse=True):
        volume += speed * max(0.0, small - reached)
        reached = max(reached, small)
    return set(front.names), volume


def _compared(
    table: Table, objective: Objective, cpu: HardwareProfile, monkeypatch: pytest.MonkeyPatch
) -> tuple[float, float]:
    """Evaluations as a share of all, and the share of the volume that is lost."""
    laboratory = _Laboratory(table)
    choice, found = _search(laboratory, cpu, objective, MeasurementRecord(), monkeypatch)
    assert choice == _by_all(table, objective)
    fit = {
        name
        for name, one in table.items()
        if (one.fits or one.lossless) and not one.refused_at_once
    }
    _, whole = _front(table, fit, objective)
    seen = _seen_front(table, found, objective)
    proved = {trial.recipe.name for trial in found.trials if trial.eligible} | {"source"}
    assert set(seen.dominated_by.values()) <= proved, "nobody falls by what is not proved"
    _, kept = _front(table, set(seen.names) & fit, objective)
    return sum(laboratory.rounds.values()) / (FULL * len(table)), 1 - kept / whole


@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.THROUGHPUT])
def test_the_choice_is_that_of_whoever_measures_everything(
    objective: Objective, cpu: HardwareProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(150):
        _compared(_drawn(seed, 1 + seed % 20), objective, cpu, monkeypatch)


def test_a_quarter_of_the_evaluations_gives_the_front(
    cpu: HardwareProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Criterion 9: an evaluation is one candidate over all cells with all rounds, and a look counts
    by its share of them."""
    for seed in range(100):
        table = _drawn(seed, 64)
        share, lost = _compared(table, Objective.LATENCY, cpu, monkeypatch)
        assert share <= 0.25
        assert lost <= 0.02


@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.THROUGHPUT])
def test_by_the_record_everything_is_decided_alike(
    objective: Objective, cpu: HardwareProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(60):
        first = _Laboratory(_drawn(seed, 12))
        choice, found = _search(first, cpu, objective, MeasurementRecord(), monkeypatch)
        second = _Laboratory(first.table)
        record = MeasurementRecord().having(found.measured.values())
        again, known = _search(second, cpu, objective, record, monkeypatch)
        assert again == choice
        assert known == found
        assert not any(second.rounds.values())


def test_who_breaks_late_is_told_so_and_the_next_one_is_asked(
    cpu: HardwareProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = {name: dict.fromkeys(CELLS, ratio) for name, ratio in (("a", 3.0), ("b", 1.5))}
    laboratory = _Laboratory({name: Known(cells, 500) for name, cells in flat.items()})
    choice, found = _search(laboratory, cpu, Objective.LATENCY, MeasurementRecord(), monkeypatch)
    assert (choice, laboratory.proved) == ("a", {"a"})
    assert "far ahead" in found.outpaced["b"]
    laboratory.broken.add("a")
    choice, found = _search(laboratory, cpu, Objective.LATENCY, MeasurementRecord(), monkeypatch)
    assert (choice, laboratory.proved) == ("b", {"a", "b"})
    assert "SIGSEGV" in found.failures["a"].reason


def test_what_cannot_be_faster_is_made_only_where_the_source_is_fast_enough(
    cpu: HardwareProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {
        "same": Known(dict.fromkeys(CELLS, 1.0), 1000, lossless=True),
        "fast": Known(dict.fromkeys(CELLS, 2.0), 500),
    }
    for fits, made in ((True, False), (False, True)):
        laboratory = _Laboratory({**table, "fast": replace(table["fast"], fits=fits)})
        monkeypatch.setattr(searching, "try_all", laboratory.tried)
        monkeypatch.setattr(searching, "prove", laboratory.prove)
        recipes = (
            Recipe("same", Precision.FP32, True, (Pass("p"),), keeps_speed="it is the same"),
            Recipe("fast", Precision.INT8, False, (Pass("q"),)),
        )
        search = Search.begin(
            recipes, laboratory.bench, cpu, Objective.LATENCY, MeasurementRecord(), SILENT
        )
        found = search.settle()
        assert bool(laboratory.rounds["same"]) is made
        assert ("it is the same" in found.outpaced.get("same", "")) is not made


def test_the_margins_are_those_that_the_documents_tell() -> None:
    assert MARGIN[Objective.LATENCY] == 0.75
    assert MARGIN[Objective.THROUGHPUT] == MARGIN[Objective.COST] == 0.55
