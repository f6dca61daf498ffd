"""The search: a look at quality and speed of all, all there is to know of the one that wins.

Rungs of speed, each for those that the one before left: a first look at everybody, a second one
where the objective is decided, and as many rounds as it takes for those that are near each other
there (successive halving, with margins in place of a fixed share: `racing`, `choosing`). Who wins
must prove its quality on all samples; who fails that leaves, and the race is told anew. What is
behind one that is proved is *outpaced*: it cannot be the choice whatever its quality, so nobody
asks, unless another would be dominated by it. Of the choice alone everything is timed.

Every step is a function of the figures that a record keeps, so that a build by the record decides
alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import NO_CONSTRAINTS, Constraints, Model, Objective
from packager.optimize.choosing import ITSELF, Choice, Gain, as_good_as_the_best, in_doubt
from packager.optimize.contending import choice_of, contender, source_scaling
from packager.optimize.making import Made
from packager.optimize.processes import Failure
from packager.optimize.racing import in_the_race
from packager.optimize.recipes import SOURCE, Recipe
from packager.optimize.record import MeasurementRecord, Row
from packager.optimize.stopwatch import Stopwatch
from packager.optimize.trying import Bench, Trial, prove, try_all
from packager.progress import Progress


@dataclass(frozen=True, slots=True)
class Found:
    """What is known when the choice is made. `outpaced` has a reason for each candidate of which
    not all was asked; `measured` and `failures` go by name."""

    trials: tuple[Trial, ...]
    choice: Choice
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
        """Ask until nothing that is still open could change the choice. Raises OptimizationError
        when nothing keeps to the constraints or to the pinned precision."""
        whole = self.constraints != NO_CONSTRAINTS
        while True:
            asked: set[str] = set()
            decided = self._decided(asked, whole=whole)
            if decided is None:
                continue
            race, near, choice = decided
            if not self.watch.complete(choice.name, self.objective, whole=whole):
                self.watch.ask_callers(choice.name, self.objective)
                return self._found(race, near, choice, asked)

    def why(self, name: str) -> str:
        """What is known against a candidate."""
        failure = self.watch.failures.get(name)
        known = self.known.get(name) or self.trials[name]
        return failure.reason if failure else known.judgement.reason

    def need(self, names: Iterable[str]) -> bool:
        """Have these prove themselves too: they would push another off the front, and nobody falls
        by one whose quality is not proved. Whether that is new."""
        fresh = set(names) - self.needed
        self.needed.update(fresh)
        return bool(fresh)

    def _decided(
        self, asked: set[str], *, whole: bool
    ) -> tuple[list[str], list[str], Choice] | None:
        """Who is in the race, who is as good as its best, and the choice, which is proved; None
        when there are new figures, with which all is to be told anew. Fills `asked`."""
        while True:
            race = self._race(asked)
            if self._ask(self._deferred(race), asked):
                continue
            fresh = [self._timed(name, whole=whole) for name in race]
            if any(fresh):
                return None
            gains = self._gains(race, asked)
            unknown = {name for name in race if name not in gains}
            if self._ask(race if whole else unknown | self.needed, asked):
                continue
            near = (
                race if whole else sorted({*as_good_as_the_best(gains, self.objective), *unknown})
            )
            choice = self._choice(near, asked)
            known = choice.name in gains and not whole
            doubt = in_doubt(gains, choice.name, self.objective) if known else None
            if doubt and self.watch.duel(doubt.names, self.objective, doubt.bound):
                return None
            # the best too: one that does not keep to the budget must not say who is as good
            best = max(near, key=lambda name: gains[name].times if name in gains else 0.0)
            if not self._ask((choice.name, best), asked):
                return race, near, choice

    def _now(self, name: str, asked: set[str]) -> Trial:
        """What is known of a candidate when those of `asked` had to tell all."""
        return self.known[name] if name in asked else self.trials[name]

    def _deferred(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name != SOURCE and self.trials[name].is_deferred]

    def _ask(self, names: Iterable[str], asked: set[str]) -> bool:
        """Make what was not made and prove what is open. Whether that was anybody."""
        trials = [self.trials[name] for name in sorted({*names} - asked - {SOURCE})]
        waiting = [trial for trial in trials if trial.is_deferred or trial.open]
        fresh = [trial for trial in waiting if trial.recipe.name not in self.known]
        late = tuple(trial.recipe for trial in fresh if trial.is_deferred)
        made = try_all(late, self.bench, None, self.progress) if late else []
        if made:
            self._look({}, made)
        self.known.update((trial.recipe.name, trial) for trial in made)
        open_ones = [trial for trial in (*fresh, *made) if trial.open]
        proved = prove(open_ones, self.bench, self.progress) if open_ones else []
        self.known.update((trial.recipe.name, trial) for trial in proved)
        asked.update(trial.recipe.name for trial in waiting)
        return bool(waiting)

    def _timed(self, name: str, *, whole: bool) -> bool:
        """With constraints everything of everybody: the fastest may break one that a slower one
        keeps to. Else a second look; the source is what all are compared with."""
        if whole:
            return self.watch.complete(name, self.objective, whole=True)
        if name == SOURCE or self.objective is Objective.SIZE:
            return False
        return self.watch.look_again(name, self.objective)

    def _standing(self, asked: set[str]) -> dict[str, Trial]:
        """Those that may still be fit to be shipped."""
        now = [self._now(name, asked) for name in self.trials if name not in self.watch.failures]
        return {trial.recipe.name: trial for trial in now if trial.eligible or trial.open}

    def _sizes(self, asked: set[str]) -> dict[str, int]:
        """Bytes of each of them, and of the source where it may be chosen."""
        sizes = {SOURCE: self.bench.workshop.source.size} if self.source_allowed else {}
        for name, trial in self._standing(asked).items():
            if isinstance(trial.outcome, Made):
                sizes[name] = trial.outcome.model.size
        return sizes

    def _race(self, asked: set[str]) -> list[str]:
        """Who can still be the choice after the first look, sorted; with constraints everybody."""
        sizes, speeds = self._sizes(asked), self.watch.speeds()
        for name in self.trials:
            if name not in self.watch.failures and self._now(name, asked).is_deferred:
                sizes[name], speeds[name] = self.bench.workshop.source.size, 1.0
        if self.constraints != NO_CONSTRAINTS:
            return sorted(sizes)
        return in_the_race(speeds, sizes, self.objective)

    def _gains(self, names: Iterable[str], asked: set[str]) -> dict[str, Gain]:
        """What is known of them where the objective is decided."""
        if self.objective is Objective.SIZE:
            sizes = self._sizes(asked)
            return {name: Gain(self.bench.workshop.source.size / sizes[name]) for name in names}
        rows, known = self.watch.rows(), {}
        standing = self._standing(asked)
        source_at = source_scaling(standing.values(), rows, self.objective)
        for name in names:
            one = contender(
                name, 0, rows.get(name), self.objective, lossless=False, source_at=source_at
            )
            if name == SOURCE:
                known[name] = ITSELF
            elif one.speedup:
                known[name] = Gain(one.speedup, one.spread)
        return known

    def _choice(self, near: list[str], asked: set[str]) -> Choice:
        """As if those that are open kept to the budget. Raises OptimizationError."""
        return choice_of(
            self.bench.workshop.source,
            self._standing(asked).values(),
            self.watch.rows(),
            self.objective,
            raced=near.__contains__,
            source_allowed=self.source_allowed,
            constraints=self.constraints,
        )

    def _found(self, race: list[str], near: list[str], choice: Choice, asked: set[str]) -> Found:
        trials = {name: self._now(name, asked) for name in self.trials}
        gains = self._gains(race, asked)
        outpaced = {
            name: self._why_not(name, name in race, name in near, choice, gains)
            for name, trial in trials.items()
            if (trial.open or trial.is_deferred) and name not in self.watch.failures
        }
        unmade = {name for name, trial in trials.items() if trial.is_deferred}
        self.progress.advance("measured", len(self.watch.models), len(self.watch.models))
        return Found(
            tuple(trials.values()),
            choice,
            outpaced,
            {name: row for name, row in self.watch.rows().items() if name not in unmade},
            {name: one for name, one in self.watch.failures.items() if name not in unmade},
        )

    def _why_not(
        self, name: str, raced: bool, near: bool, choice: Choice, gains: Mapping[str, Gain]
    ) -> str:
        """What a candidate is told that was not made, or not asked all samples. Who raced is
        compared by `gains`, each at its best; a ratio of its own threads says nothing there."""
        told, best = self.trials[name].judgement.reason, choice.name
        if near:
            return f"{choice.others[name]}; {told}"
        if self.objective is Objective.SIZE:
            return f"{best} keeps to the budget and is smaller; {told}"
        own = gains.get(name)
        if best == SOURCE and own:
            held = "no better than the source beyond noise" if own.times >= 0.95 else "slower"
            return f"{held}: {own.times:.2f}× the source's speed, each at its best; {told}"
        if raced and own and best in gains:
            ahead = f"{gains[best].times:.2f}× the source's speed against {own.times:.2f}×"
            return f"{best} is ahead at the second look, {ahead}, each at its best; {told}"
        speeds = self.watch.speeds()
        against = f" against {speed:.2f}×" if (speed := speeds.get(name)) else ""
        ahead = f"{speeds.get(best) or 0:.2f}× the source's speed{against}"
        where = "ahead at the second look" if raced else "far ahead at the first look"
        return f"{best} is {where}, {ahead}; {told}"
