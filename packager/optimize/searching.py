"""The search: a first look at quality and speed of all, all there is to know of those that can win.

The rule is a function of the figures that a record keeps, so that a build by the record decides
alike: who is in the race (`racing`) must prove its quality on all samples; who fails leaves it, and
the race is told anew. What is far behind one that is proved is *outpaced*: it cannot be the choice
whatever its quality, so nobody asks, unless another would be dominated by it. More figures are
taken of the race alone, and where they move it the rule is applied once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import NO_CONSTRAINTS, Constraints, Model, Objective
from packager.optimize.making import Made
from packager.optimize.measuring import measurable
from packager.optimize.processes import Failure
from packager.optimize.racing import in_the_race
from packager.optimize.recipes import SOURCE, Recipe
from packager.optimize.record import MeasurementRecord, Row
from packager.optimize.stopwatch import Stopwatch
from packager.optimize.trying import Bench, Trial, prove, try_all
from packager.progress import Progress


@dataclass(frozen=True, slots=True)
class Found:
    """What is known when the choice is made. `race` can be the choice; `outpaced` has a reason for
    each candidate of which not all was asked; `measured` and `failures` go by name."""

    trials: tuple[Trial, ...]
    race: frozenset[str]
    outpaced: Mapping[str, str]
    measured: Mapping[str, Row]
    failures: Mapping[str, Failure]


@dataclass(frozen=True, slots=True)
class Search:
    """One search for one profile; what it found is kept in the bench and the watch."""

    bench: Bench
    watch: Stopwatch
    trials: Mapping[str, Trial]
    objective: Objective
    source_allowed: bool
    constraints: Constraints
    progress: Progress
    known: dict[str, Trial] = field(default_factory=dict)
    """What is known of those that had to tell all, as long as the search lasts."""
    needed: set[str] = field(default_factory=set)

    @classmethod
    def begin(
        cls,
        recipes: tuple[Recipe, ...],
        bench: Bench,
        hardware: HardwareProfile,
        objective: Objective,
        record: MeasurementRecord,
        progress: Progress,
        precision: Precision | None = None,
        constraints: Constraints = NO_CONSTRAINTS,
    ) -> Search:
        """Make everything and look at it."""
        wanted = [recipe for recipe in recipes if recipe.name != SOURCE]
        at_once = [one for one in wanted if not one.keeps_speed or precision]
        tried = {
            one.recipe.name: one for one in try_all(tuple(at_once), bench, precision, progress)
        }
        trials = {one.name: tried.get(one.name) or Trial.deferred(one) for one in wanted}
        watch = Stopwatch(bench.workshop, hardware, record, progress)
        model = bench.workshop.source
        allowed = precision in (None, model.precision)
        search = cls(bench, watch, trials, objective, allowed, constraints, progress)
        search._look({SOURCE: model}, tried.values())
        return search

    def _look(self, models: dict[str, Model], trials: Iterable[Trial]) -> None:
        """A first look at the speed of those that stand."""
        resident = {SOURCE: self.bench.source.resident_bytes}
        for trial in trials:
            if isinstance(trial.outcome, Made) and (trial.eligible or trial.open):
                models[trial.recipe.name] = trial.outcome.model
                resident[trial.recipe.name] = trial.resident_bytes
        self.watch.look(models, resident)

    def settle(self) -> Found:
        """Ask until nothing that is still open could change the choice."""
        while True:
            race, asked = self._race()
            fresh = [self._complete(name, alone=len(race) == 1) for name in race]
            if not any(fresh):
                break
        trials = {name: self._now(name, asked) for name in self.trials}
        outpaced = {
            name: self._why_not(name, race)
            for name, trial in trials.items()
            if (trial.open or trial.is_deferred) and name not in self.watch.failures
        }
        self.progress.advance("measured", len(self.watch.models), len(self.watch.models))
        return Found(
            tuple(trials.values()),
            frozenset(race),
            outpaced,
            self.watch.rows(),
            dict(self.watch.failures),
        )

    def sweep(self, name: str) -> bool:
        """More figures of the choice. Whether there are new ones: then all is told anew."""
        return measurable(self.watch.hardware) and self.watch.sweep(name, self.objective)

    def need(self, names: Iterable[str]) -> bool:
        """Have these prove themselves too: they would push another off the front, and nobody falls
        by one whose quality is not proved. Whether that is new."""
        fresh = set(names) - self.needed
        self.needed.update(fresh)
        return bool(fresh)

    def _now(self, name: str, asked: set[str]) -> Trial:
        """What is known of a candidate when those of `asked` had to tell all."""
        return self.known[name] if name in asked else self.trials[name]

    def _race(self) -> tuple[list[str], set[str]]:
        """Who can still be the choice, sorted, and who had to tell all for that."""
        asked: set[str] = set()
        while True:
            race = self._contenders(asked)
            waiting = [
                self.trials[name]
                for name in sorted({*race, *self.needed})
                if name != SOURCE and name not in asked and not self.trials[name].eligible
            ]
            if not waiting:
                return race, asked
            self._ask([trial for trial in waiting if trial.recipe.name not in self.known])
            asked |= {trial.recipe.name for trial in waiting}

    def _ask(self, trials: list[Trial]) -> None:
        """Make what was not made, and prove what is open."""
        late = tuple(trial.recipe for trial in trials if trial.is_deferred)
        made = try_all(late, self.bench, None, self.progress) if late else []
        if made:
            self._look({}, made)
        for trial in made:
            self.known[trial.recipe.name] = trial
        open_ones = [trial for trial in (*trials, *made) if trial.open]
        for trial in prove(open_ones, self.bench, self.progress) if open_ones else []:
            self.known[trial.recipe.name] = trial

    def _contenders(self, asked: set[str]) -> list[str]:
        """With constraints everybody: the fastest may break one that a slower one keeps to."""
        source, speeds = self.bench.workshop.source, self.watch.speeds()
        sizes = {SOURCE: source.size} if self.source_allowed else {}
        for name in self.trials:
            trial = self._now(name, asked)
            if name in self.watch.failures:
                continue
            if trial.is_deferred:
                sizes[name], speeds[name] = source.size, 1.0
            elif isinstance(trial.outcome, Made) and (trial.eligible or trial.open):
                sizes[name] = trial.outcome.model.size
        if self.constraints != NO_CONSTRAINTS:
            return sorted(sizes)
        return in_the_race(speeds, sizes, self.objective)

    def _complete(self, name: str, *, alone: bool) -> bool:
        whole = self.constraints != NO_CONSTRAINTS
        return self.watch.complete(name, self.objective, whole=whole, alone=alone)

    def _why_not(self, name: str, race: list[str]) -> str:
        """What a candidate is told that was not made, or not asked all samples."""
        speeds, told = self.watch.speeds(), self.trials[name].judgement.reason
        best = max(race, key=lambda one: (speeds.get(one) or 0.0, one), default=SOURCE)
        if self.objective is Objective.SIZE:
            return f"{best} keeps to the budget and is smaller; {told}"
        own = f" against {speed:.2f}×" if (speed := speeds.get(name)) else ""
        ahead = f"{speeds.get(best) or 0:.2f}× the source's speed{own}"
        return f"{best} is far ahead at the first look, {ahead}; {told}"
