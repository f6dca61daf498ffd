"""The queue of one server that takes what waits together, up to a bound: its reply times.

Requests come as a Poisson process. A server that finds nothing waiting takes the next request alone
and at once; otherwise it takes all that wait, at most `batch`. With `batch` 1 it is the M/G/1 queue
whose first service after an idle time is another one (Welch, 1964): a request that finds the server
idle finds its caches cold, too. Solved by the Markov chain of how many a finished run leaves behind
(Kendall, 1953; Bailey, 1954), and from there by where in a run a request arrives (PASTA).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_MOST_WAITING, _FOR_EACH_OF_A_BATCH = 300, 12
_MOST_STATES = 1500
_ELAPSED = (np.arange(6) + 0.5) / 6
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True)
class BatchQueue:
    """Mean milliseconds of a run: `idle_ms` of a request that found the server idle, `one_ms` of
    one that had to wait, `full_ms` of `batch` together; between these two a run grows by the same
    for each request. `spread` are the factors, of mean 1, by which equal shares of the runs are
    longer or shorter."""

    batch: int
    idle_ms: float
    one_ms: float
    full_ms: float
    spread: tuple[float, ...]

    def run_ms(self, requests: Any) -> Any:
        """The mean of a run of so many requests that waited."""
        if self.batch == 1:
            return self.full_ms + 0.0 * requests
        each = (self.full_ms - self.one_ms) / (self.batch - 1)
        return self.one_ms + each * (requests - 1)

    def percentile_ms(self, per_ms: float, percentile: float) -> float:
        """The reply time that `percentile` of the requests stay within, at `per_ms` arrivals."""
        times, weights = self._replies(per_ms)
        order = np.argsort(times, kind="stable")
        reached = np.cumsum(weights[order])
        place = int(np.searchsorted(reached, percentile * reached[-1]))
        return float(times[order[min(place, len(order) - 1)]])

    def _replies(self, per_ms: float) -> tuple[Floats, Floats]:
        """Reply times and how often they occur."""
        factors = np.array(self.spread)
        left = self._left_behind(per_ms)
        means = self._means(len(left))
        idle, weights = left[0] / per_ms, left * means
        whole = idle + weights.sum()
        times, shares = [self.idle_ms * factors], [np.full(len(factors), idle / len(factors))]
        # Runs of less than a full batch leave nothing behind, full ones those beyond the batch.
        for state in range(self.batch):
            nobody = np.zeros(len(left))
            nobody[0] = weights[state]
            self._arrive_during(means[state], nobody, per_ms, times, shares)
        beyond = np.zeros(len(left))
        beyond[: len(left) - self.batch] = weights[self.batch :]
        self._arrive_during(self.full_ms, beyond, per_ms, times, shares)
        return np.concatenate(times), np.concatenate(shares) / whole

    def _means(self, states: int) -> Floats:
        means = self.run_ms(np.minimum(np.arange(states), self.batch).astype(float))
        means[0] = self.idle_ms
        return np.asarray(means)

    def _left_behind(self, per_ms: float) -> Floats:
        """The probability that a finished run leaves so many waiting."""
        size = min(_MOST_STATES, _MOST_WAITING + _FOR_EACH_OF_A_BATCH * self.batch)
        means = self._means(size)
        chain = np.zeros((size, size))
        for state in range(size):
            first = max(0, state - self.batch)
            if state <= self.batch:
                come = _arrivals(per_ms * means[state] * np.array(self.spread), size).mean(axis=0)
            chain[state, first:] = come[: size - first]
            chain[state, -1] += max(0.0, 1.0 - chain[state].sum())
        balance = chain.T - np.eye(size)
        balance[-1] = 1.0
        found = np.linalg.solve(balance, np.eye(size)[-1])
        return np.maximum(found, 0.0)

    def _arrive_during(
        self, mean: float, ahead: Floats, per_ms: float, times: list[Floats], shares: list[Floats]
    ) -> None:
        """Requests that come while a run of `mean` is on; `ahead` of them wait with what weight."""
        if ahead.sum() < _NEGLIGIBLE:
            return
        factors = np.array(self.spread)
        count = np.arange(len(ahead))
        for factor in factors:  # a long run is met more often, in proportion
            for elapsed in _ELAPSED:
                gone = mean * factor * elapsed
                waiting = np.convolve(ahead, _arrivals(np.array([per_ms * gone]), len(ahead))[0])
                waiting = waiting[: len(ahead)] * factor / len(factors) / len(_ELAPSED)
                kept = waiting > _NEGLIGIBLE / len(ahead)
                runs, place = count[kept] // self.batch, count[kept] % self.batch
                until = mean * factor - gone + runs * self.full_ms
                with_it = np.minimum(self.batch, place + 1 + per_ms * until)
                own = self.run_ms(with_it)
                deviation = np.sqrt(runs * self.full_ms**2 + own**2)
                for own_factor in factors:
                    times.append(until + own + deviation * (own_factor - 1))
                    shares.append(waiting[kept] / len(factors))


def _arrivals(means: Floats, size: int) -> Floats:
    """Poisson probabilities of 0 to size - 1, one row for each mean."""
    count = np.arange(size)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(count[1:]))])
    safe = np.maximum(means, 1e-300)[:, None]
    return np.asarray(np.exp(count * np.log(safe) - safe - factorials))
