"""The search: a first look at quality and speed of all, all there is to know of those that can win.

The rule is a function of the figures that a record keeps, so that a build by the record decides
alike: who is in the race (`racing`) must prove its quality on all samples; who fails leaves it, and
the race is told anew. What is far behind one that is proved is *outpaced*: it cannot be the choice
whatever its quality, so nobody asks. More figures are taken of the race alone, and where they move
it the rule is applied once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import NO_CONSTRAINTS, Constraints, Objective
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
    proved: dict[str, Trial] = field(default_factory=dict)

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
        trials = {one.recipe.name: one for one in try_all(recipes, bench, precision, progress)}
        model = bench.workshop.source
        watch = Stopwatch(bench.workshop, hardware, record, progress)
        watch.look(
            {
                SOURCE: model,
                **{
                    name: trial.outcome.model
                    for name, trial in trials.items()
                    if isinstance(trial.outcome, Made) and (trial.eligible or trial.open)
                },
            }
        )
        allowed = precision in (None, model.precision)
        return cls(bench, watch, trials, objective, allowed, constraints, progress)

    def settle(self) -> Found:
        """Ask until nothing that is still open could change the choice."""
        while True:
            race, asked = self._race()
            fresh = [self._complete(name) for name in sorted(race)]
            if not any(fresh):
                break
        trials = {
            name: self.proved[name] if name in asked else one for name, one in self.trials.items()
        }
        self.progress.advance("measured", len(self.watch.models), len(self.watch.models))
        return Found(
            tuple(trials.values()),
            frozenset(race),
            {
                name: self._why_not(name, race)
                for name, one in trials.items()
                if one.open and name not in self.watch.failures
            },
            self.watch.rows(),
            dict(self.watch.failures),
        )

    def sweep(self, name: str) -> bool:
        """More figures of the choice. Whether there are new ones: then all is told anew."""
        return measurable(self.watch.hardware) and self.watch.sweep(name, self.objective)

    def _race(self) -> tuple[list[str], set[str]]:
        """Who can still be the choice, and who had to prove itself for that."""
        asked: set[str] = set()
        while True:
            standing = {
                name: trial
                for name, trial in self.trials.items()
                if name not in self.watch.failures and self._stands(name, trial, asked)
            }
            race = self._contenders(standing)
            waiting = [name for name in race if name in standing and standing[name].open]
            waiting = [name for name in waiting if name not in asked]
            if not waiting:
                return race, asked
            unknown = [self.trials[name] for name in waiting if name not in self.proved]
            for trial in prove(unknown, self.bench, self.progress):
                self.proved[trial.recipe.name] = trial
            asked |= set(waiting)

    def _stands(self, name: str, trial: Trial, asked: set[str]) -> bool:
        one = self.proved[name] if name in asked else trial
        return one.eligible or one.open

    def _contenders(self, standing: Mapping[str, Trial]) -> list[str]:
        """With constraints everybody: the fastest may break one that a slower one keeps to."""
        sizes = {
            name: trial.outcome.model.size
            for name, trial in standing.items()
            if isinstance(trial.outcome, Made)
        }
        if self.constraints != NO_CONSTRAINTS:
            return sorted(sizes)
        if self.source_allowed:
            sizes[SOURCE] = self.bench.workshop.source.size
        return in_the_race(self.watch.speeds(), sizes, self.objective)

    def _complete(self, name: str) -> bool:
        whole = self.constraints != NO_CONSTRAINTS
        return self.watch.complete(name, self.objective, whole=whole)

    def _why_not(self, name: str, race: list[str]) -> str:
        """What a candidate that was not asked all samples is told."""
        speeds, told = self.watch.speeds(), self.trials[name].judgement.reason
        if self.objective is Objective.SIZE:
            return f"{race[0]} keeps to the budget and is smaller; {told}" if race else told
        best = max(race, key=lambda one: (speeds.get(one) or 0.0, one), default=SOURCE)
        return (
            f"{best} is far ahead at the first look, {speeds.get(best) or 0:.2f}× the source's"
            f" speed against {speeds.get(name) or 0:.2f}×; {told}"
        )
