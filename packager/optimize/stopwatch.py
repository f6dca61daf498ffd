"""Keeps the figures of every candidate: from the record where it has them, else by timing.

Each is timed against the source in a process of its own (`timing`), one after the other, while
nothing else of ours runs, and only as far as the search asks: a first look, a second one where the
objective is decided, more rounds where two are near each other, then more cells of threads and
batches. Figures of a record are taken as they are; only a first look of this very machine is gone
on with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model, Objective
from packager.optimize.contending import FIRST
from packager.optimize.making import Workshop
from packager.optimize.measuring import BATCHES, batches, host, measurable, thread_counts
from packager.optimize.processes import Failure
from packager.optimize.recipes import SOURCE
from packager.optimize.record import Figures, MeasurementRecord, Row
from packager.optimize.timing import BATCH, FULL, Cell, Rounds
from packager.progress import Progress


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """`own` holds what was timed on this machine, `sites` what a record says of the very profile:
    a site's own figures, or those of a borrowed machine, are how an accelerator is measured."""

    workshop: Workshop
    hardware: HardwareProfile
    record: MeasurementRecord
    progress: Progress
    models: dict[str, Model] = field(default_factory=dict)
    own: dict[str, Row] = field(default_factory=dict)
    sites: dict[str, Row] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    timed: set[str] = field(default_factory=set)
    rounds: dict[str, dict[Cell, Rounds]] = field(default_factory=dict)
    """What figures of this run are made of, to go on with: seconds of source and candidate."""
    duelled: set[tuple[str, ...]] = field(default_factory=set)
    resident: dict[str, int | None] = field(default_factory=dict)

    def look(self, models: Mapping[str, Model], resident: Mapping[str, int | None]) -> None:
        """Figures for each of `models`, where any can be had; the source may be among them.
        `resident` are bytes of memory that were seen while it answered."""
        self.models.update(models)
        self.resident.update(resident)
        for name, model in models.items():
            self._remember(name, model)
        if not measurable(self.hardware):
            return
        wanted = sorted(name for name in models if not self._is_known(name))
        self._look_together(wanted)
        for position, name in enumerate(wanted):
            if name not in self.own:
                self.progress.advance(f"measuring {name}", position, len(models))
                self._time(name, [FIRST], pace="look")

    def _is_known(self, name: str) -> bool:
        site = self.sites.get(name)
        return name in self.own or (site is not None and site.compared)

    def _look_together(self, names: list[str]) -> None:
        """One process for all, where the source is loaded once. Where it breaks nothing is known of
        any, and each gets a process of its own, which tells whose fault it was."""
        others = [name for name in names if name != SOURCE]
        if len(others) < 2 or not self.workshop.workers.local:
            return
        self.progress.advance(f"measuring {len(others)} candidates", 0, len(names))
        files = {name: str(self.models[name].files[0].path) for name in others}
        task = {"task": "look", "candidates": files, **self._given()}
        result = self.workshop.workers.do("look", task, self.workshop.folder)
        if isinstance(result, Failure):
            return
        for name in names:
            self._put(name, result["looks"][name if name != SOURCE else ""])

    def rows(self) -> dict[str, Row]:
        """Candidate name → its figures; a site's take the place of ours, which then only tell how
        the candidate stands to the source."""
        rows = {**self.own, **self.sites}
        for name in self.own.keys() & self.sites.keys():
            if not self.sites[name].compared:
                rows[name] = self.sites[name].compared_like(self.own[name])
        return {name: rows[name] for name in sorted(rows) if name not in self.failures}

    def speeds(self) -> dict[str, float | None]:
        """The ratio to the source at the first look, or nearest to it; None where nothing is known.

        Of figures that a record keeps as they are, so that a build by the record decides alike.
        """
        rows = self.own | {name: row for name, row in self.rows().items() if name not in self.own}
        return {
            name: rows[name].figures[0].latency_speedup if name in rows else None
            for name in self.models
        }

    def look_again(self, name: str, objective: Objective) -> bool:
        """A few rounds where the objective is decided: latency over threads; for throughput and
        cost all threads and the largest batch. Whether there are new figures, or a failure."""
        threads = thread_counts()
        if objective is Objective.LATENCY:
            return self._more(name, [(count, 1) for count in threads], pace="look")
        cells = sorted({(threads[-1], 1), (threads[-1], self._batches()[-1])})
        return self._more(name, cells, pace="look")

    def duel(self, names: Sequence[str], objective: Objective, bound: float) -> bool:
        """The first of `names` and the second, or the source, side by side where each is at its
        best, until it is clear whether the first is `bound` times as fast; once. Whether that gave
        new figures, or a failure."""
        rows = [self.own.get(name) for name in names]
        known = [row for row in rows if row is not None]
        key = tuple(sorted(names))
        if len(known) < len(rows) or key in self.duelled or not self.timed.issuperset(names):
            return False
        self.duelled.add(key)
        bests = [row.best(objective) for row in known]
        latency = objective is Objective.LATENCY
        task: dict[str, Any] = {
            "task": "duel",
            "cells": [(best.threads, 1 if latency else best.batch) for best in bests],
            "bound": bound,
            **self._given(),
        }
        for role, name in zip(("candidate", "rival"), names, strict=False):
            task[role] = str(self.models[name].files[0].path)
        self.progress.advance(f"comparing {' and '.join(names)}", len(self.own), len(self.models))
        told = self.workshop.workers.do(f"duel-{'-'.join(names)}", task, self.workshop.folder)
        if isinstance(told, Failure):
            # whose fault it was is not known here: each tells by itself
            cells = zip(names, task["cells"], strict=True)
            fresh = [self._time(name, [cell], pace="close") for name, cell in cells]
            return any(fresh)
        for name, side in zip(names, told["sides"], strict=True):
            self._put(name, {**told, **side, "between": None})
        return True

    def complete(self, name: str, objective: Objective, *, whole: bool = False) -> bool:
        """All figures of the choice: latency over threads, then batches with the threads that it
        will run with; for throughput and cost the largest batch as well with fewer threads that are
        nearly as fast. With `whole` every cell. Whether there are new ones, or a failure."""
        threads, sizes = thread_counts(), self._batches()
        if whole:
            return self._more(name, [(one, batch) for one in threads for batch in sizes])
        cells = [(count, 1) for count in threads]
        swept: tuple[int, ...] = ()
        if objective is Objective.LATENCY:
            swept = sizes[1:]
        elif objective is not Objective.SIZE:
            cells = sorted({*cells, (threads[-1], sizes[-1])})
        if self._more(name, cells, swept, pace="rest"):
            return True
        row = self.own.get(name)
        if row is None:
            return False
        count = row.best(objective).threads
        rest = {(count, batch) for batch in sizes}
        if objective not in (Objective.LATENCY, Objective.SIZE):
            rest |= {(fewer, sizes[-1]) for fewer in _nearly_as_fast(row, threads)}
        return self._more(name, sorted(rest), pace="rest")

    def ask_callers(self, name: str, objective: Objective) -> None:
        """Where batches seem to pay with the threads that it will run with: whether they do for
        callers who wait for their answers, as a server has them. Only of what was timed here and
        now: a record says all that its build knew."""
        row = self.own.get(name)
        if row is None or name not in self.timed or name in self.failures:
            return
        threads = row.best(objective).threads
        size = row.batching(threads).max_batch_size
        if not size or row.together is not None:
            return
        self.progress.advance(f"eight callers ask {name}", len(self.own), len(self.models))
        task = {
            "task": "callers",
            "model": str(self.models[name].files[0].path),
            "threads": threads,
            "batch": size,
            **{key: value for key, value in self._given().items() if key != "source"},
        }
        told = self.workshop.workers.do(f"callers-{name}", task, self.workshop.folder)
        least = 0.0 if isinstance(told, Failure) else float(told["least"])
        self.own[name] = replace(row, together=least)

    def _batches(self) -> tuple[int, ...]:
        return batches(self.workshop.source, stackable=self.workshop.samples.stackable)

    def _remember(self, name: str, model: Model) -> None:
        """What the record has of a model. A site's row gets ratios where the same site timed the
        source as well; what was timed on this machine counts for every profile."""
        source = self.workshop.source.digest
        known = self.record.find(source, model.digest, self.hardware.id)
        if known is not None and not known.compared:
            base = self.record.find(source, source, known.hardware)
            same = base is not None and base.measured_on == known.measured_on
            known = known.compared_with(base) if base and same else known
        twin = self.record.elsewhere(source, model.digest, host())
        if known is None and twin is not None and measurable(self.hardware):
            known = replace(twin, hardware=self.hardware.id)
        if known is None:
            return
        here = known.measured_on == host() and known.compared and known.compared_on is None
        (self.own if here else self.sites)[name] = known

    def _more(
        self, name: str, cells: Sequence[Cell], swept: Sequence[int] = (), pace: str = "full"
    ) -> bool:
        row = self.own.get(name)
        site = self.sites.get(name)
        if row is None or name in self.failures or (site is not None and site.compared):
            return False
        known = {(one.threads, one.batch): one for one in row.figures}
        only_looked = set(known) == {FIRST}
        seen = {threads for threads, _ in known}
        ours = only_looked or name in self.timed
        wanted = [
            cell
            for cell in cells
            if (cell not in known and (cell[0] in seen or ours))
            or (cell in known and ours and pace != "look" and _only_looked_at(known[cell]))
        ]
        if not wanted:
            return False
        self.progress.advance(f"measuring {name} further", len(self.own), len(self.models))
        return self._time(name, wanted, pace=pace, swept=swept if wanted == cells else ())

    def _time(self, name: str, cells: list[Cell], *, pace: str, swept: Sequence[int] = ()) -> bool:
        """Time those cells and put them to what is known. Whether anything came of it."""
        task = {
            "task": "measure",
            "candidate": str(self.models[name].files[0].path),
            "cells": cells,
            "pace": pace,
            "sweep": list(swept),
            "begun": self._begun(name),
            **self._given(),
        }
        result = self.workshop.workers.do(f"measure-{name}", task, self.workshop.folder)
        if isinstance(result, Failure):
            self.failures[name] = Failure(f"could not be measured: {result.reason}")
            return True
        return self._put(name, result)

    def _begun(self, name: str) -> list[list[Any]]:
        """Rounds to go on with; on a cluster the next ones may run on another machine."""
        if not self.workshop.workers.local:
            return []
        return [[*cell, rounds] for cell, rounds in sorted(self.rounds.get(name, {}).items())]

    def _given(self) -> dict[str, Any]:
        """What every timing is given."""
        samples = self.workshop.samples
        return {
            "source": str(self.workshop.source.files[0].path),
            "samples": str(self.workshop.folder / "evaluation.npz"),
            "batched": dict(samples.batched),
            "start": 0,
            "stop": min(len(samples.evaluation), 2 * BATCHES[-1]),
        }

    def _put(self, name: str, result: Mapping[str, Any]) -> bool:
        """What a worker told, to what is known. Whether that is new."""
        self.timed.add(name)
        for threads, batch, rounds in result.get("rounds", ()):
            self.rounds.setdefault(name, {})[threads, batch] = rounds
        before = self.own.get(name)
        row = self._row(name, result, before.figures if before else ())
        if before:  # loaded once for its figures: what was told first stays
            row = replace(
                row,
                load_ms=before.load_ms,
                resident_bytes=before.resident_bytes,
                together=before.together,
            )
        self.own[name] = row
        self.progress.outcome(name, "measured", _told(row, result.get("between")))
        return row != before

    def _row(self, name: str, result: Mapping[str, Any], before: tuple[Figures, ...]) -> Row:
        """What a worker told, over what was known. Latency is that of batch 1."""
        known: dict[Cell, dict[str, Any]] = {(f.threads, f.batch): asdict(f) for f in before}
        for figures in result["figures"]:
            cell = figures["threads"], figures["batch"]
            known[cell] = {**known.get((cell[0], 1), {}), **figures}
        return Row(
            source=self.workshop.source.digest,
            candidate=self.models[name].digest,
            hardware=self.hardware.id,
            measured_on=result.get("host") or host(),
            figures=tuple(sorted(Figures(**figures) for figures in known.values())),
            load_ms=result.get("load_ms"),
            resident_bytes=self.resident.get(name) or result.get("resident_bytes"),
        )


ENOUGH = 0.8
"""Fewer threads that reach this share of the speed of all at batch 1 may do in batches; the others
do not, since the more there is to do at once, the more threads help."""


def _nearly_as_fast(row: Row, threads: Sequence[int]) -> list[int]:
    latency = {f.threads: f.latency_p50_ms for f in row.figures if f.batch == 1}
    best = min(latency.values(), default=0.0)
    return [count for count in threads if latency.get(count, 0.0) * ENOUGH <= best]


def _only_looked_at(figures: Figures) -> bool:
    least = FULL if figures.batch == 1 else BATCH
    return figures.rounds < least.at_least


def _told(row: Row, between: tuple[float, float] | None) -> str:
    """For the table that grows: the ratio at batch 1, and the most there is in batches."""
    first = row.figures[0]
    interval = f" ({between[0]:.2f} to {between[1]:.2f})" if between else ""
    speed = f"{first.latency_speedup:.2f}× the source's speed"
    told = f"{speed}{interval}, p50 {first.latency_p50_ms:g} ms"
    most = max(row.figures, key=lambda one: one.throughput_per_s)
    if len(row.figures) == 1:
        return told
    return (
        f"{told}; {most.throughput_per_s:g}/s with {most.threads} threads, batches of {most.batch}"
    )
