"""How many tokens to guess: as many as gain most, none where guessing loses.

A plain step yields one token. A step with guesses takes longer and yields those that stand and one
more. What it takes is a line through the usual times of steps with so many guesses; what it yields
follows from how often a drafter offers a guess in each place, and how often that one stands when
those before it did. Where no number of guesses pays, there are none for a while, and each time for
a longer one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import islice

_WORTH_IT = 1.03
_TRIALS = 6
_PROVEN = 24
_REFRESH = 16
_OTHERS = 32
_REMEMBERED = 0.98
_LEARNING = 0.3
_LATEST = 9
_FIRST_PAUSE = 64
_LONGEST_PAUSE = 1024
_MOST_WASTED = 8.0
"""Plain steps' worth of thinking that led to no guess before a drafter is left alone."""


class Controller:
    """Learns from the steps of one engine. Times are seconds."""

    def __init__(self, most: int = 4) -> None:
        self.drafted = self.accepted = 0
        self.gain = 1.0
        self._most = most
        self._plain: deque[float] = deque(maxlen=_LATEST)
        self._since_plain = 0
        self._pause = 0
        self._next_pause = _FIRST_PAUSE
        self._tried, self._best = 0, most
        self._times: dict[int, deque[float]] = {}
        self._stood = [_Share(place) for place in range(most)]
        self._offered = [_Share(place) for place in range(most)]
        self._waste = self._wasted = 0.0
        self._silent = 0

    @property
    def wanted(self) -> int:
        """How many tokens to guess in the next step; 0 for a plain one."""
        if self._pause > 0 or not self._plain or self._since_plain >= _REFRESH:
            return 0
        if self._tried < _TRIALS:
            # Plain steps in between: the machine's speed may have changed since the last ones.
            counts = (self._most, 0, 1, 0)
            return counts[(2 * self._tried + (self._since_plain > 0)) % len(counts)]
        # Other numbers are tried at times, or their cost would never be learnt again.
        return {0: self._most, _OTHERS // 2: 1}.get(self._tried % _OTHERS, self._best)

    def plain(self, seconds: float, thought: float = 0.0) -> None:
        """A step without guesses took this long, for one conversation alone, and a drafter that
        offered none thought so long before."""
        self._plain.append(seconds)
        self._since_plain = 0
        self._pause -= 1
        if thought:
            self._wasted += thought
            self._silent += 1
            plain = _usual(self._plain)
            share = self._wasted / (self._silent * plain)
            if self._wasted > _MOST_WASTED * plain and share > _WORTH_IT - 1:
                self._give_up()

    def guessed(self, asked: int, drafted: int, accepted: int, seconds: float) -> None:
        """A step with guesses, one at least: so many were asked for, drafted and accepted, in all
        this time, drafting included."""
        self.drafted += drafted
        self.accepted += accepted
        self._tried += 1
        self._since_plain += 1
        self._times.setdefault(drafted, deque(maxlen=_LATEST)).append(seconds)
        self._waste += _LEARNING * (self._wasted - self._waste)
        self._wasted, self._silent = 0.0, 0
        for offered in islice(self._offered, 1, min(drafted + 1, asked, self._most)):
            offered.saw(offered.place < drafted)
        for stood in islice(self._stood, min(accepted + 1, drafted)):
            stood.saw(stood.place < accepted)
        if self._plain:
            self.gain, self._best = max(self._gains())
        if self._tried >= _TRIALS and self.gain < _WORTH_IT:
            self._give_up()
        elif self._tried >= _PROVEN:
            self._next_pause = _FIRST_PAUSE

    def _begin_trial(self) -> None:
        """What was learnt is forgotten: the next conversation may be another one."""
        self._tried, self._best = 0, self._most
        self._times = {}
        self._stood = [_Share(place) for place in range(self._most)]
        self._offered = [_Share(place) for place in range(self._most)]
        self._waste = self._wasted = 0.0
        self._silent = 0

    def _give_up(self) -> None:
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
        self._begin_trial()

    def _gains(self) -> list[tuple[float, int]]:
        """What a step yields over its cost when n guesses are asked for, for each n. To its cost
        belongs the thinking between two such steps that led to nothing."""
        plain = _usual(self._plain)
        base, each = self._costs(plain)
        gains = []
        tokens = standing = offering = 1.0
        guesses = 0.0
        for place in range(self._most):
            if place:
                offering *= self._offered[place].value
                standing *= self._offered[place].value
            standing *= self._stood[place].value
            tokens, guesses = tokens + standing, guesses + offering
            gains.append((tokens * plain / (base + each * guesses + self._waste), place + 1))
        return gains

    def _costs(self, plain: float) -> tuple[float, float]:
        """The line of least squares: seconds of a step with guesses, and of each guess in it. With
        one number of guesses known only, the line goes through the plain step."""
        known = {count: _usual(times) for count, times in self._times.items()}
        if len(known) == 1:
            known[0] = plain
        middle = sum(known) / len(known)
        height = sum(known.values()) / len(known)
        spread = sum((count - middle) ** 2 for count in known)
        each = sum((n - middle) * (t - height) for n, t in known.items()) / spread
        each = max(0.0, each)
        return max(height - each * middle, height / 10), each


class _Share:
    """How often something happens in one place, the latest times above all; half a time in one
    before anything was seen."""

    def __init__(self, place: int) -> None:
        self.place = place
        self._seen, self._happened = 1.0, 0.5

    @property
    def value(self) -> float:
        return self._happened / self._seen

    def saw(self, happened: bool) -> None:
        self._seen = _REMEMBERED * self._seen + 1
        self._happened = _REMEMBERED * self._happened + happened


def _usual(seconds: Collection[float]) -> float:
    """The slowest of the quicker third: on a machine that does other things too some steps take
    many times as long as they must, which says nothing about guessing."""
    return sorted(seconds)[(len(seconds) - 1) // 3]
