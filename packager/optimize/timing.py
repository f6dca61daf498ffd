"""The stop-watch: one candidate against the source, in one process, in interleaved rounds.

A shared machine drifts: what is timed a minute later is timed on another machine. So each round
times source and candidate one right after the other, in alternating order, and the speed-up is the
median of the rounds' ratios. Rounds end when the ratio is known well enough, not at a fixed number
(racing); a candidate that is surely slower than the source is not asked at more threads and larger
batches. Runs in worker processes only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from packager.optimize.engine import open_session
from packager.optimize.samples import Feed


@dataclass(frozen=True, slots=True)
class Pace:
    """How many rounds: beyond `at_least` until the 95 % interval of the median ratio is at most
    `known` wide to either side, or `seconds` are over."""

    warm_up: int
    at_least: int
    at_most: int
    seconds: float
    known: float


LOOK = Pace(2, 5, 10, 0.25, 0.04)
"""A first look: enough to see who is far behind."""
FULL = Pace(3, 15, 300, 0.25, 0.015)
CLOSE = Pace(3, 15, 300, 1.0, 0.015)
"""Where several are near each other, and noise would choose between them."""
REST = Pace(2, 15, 40, 0.25, 0.03)
"""What is left to tell of the choice once nothing can undo it: threads, and figures to show."""
PACES = {"look": LOOK, "full": FULL, "close": CLOSE, "rest": REST}
BATCH = Pace(1, 4, 300, 0.2, 0.015)
BATCH_LOOK = Pace(1, 3, 3, 0.2, 0.04)
BATCH_REST = Pace(1, 4, 5, 0.2, 0.03)
BATCH_PACES = {"look": BATCH_LOOK, "full": BATCH, "close": BATCH, "rest": BATCH_REST}

SURELY_SLOWER = 0.8

Rounds = list[tuple[float, float]]


Cell = tuple[int, int]
"""Threads within an operator, and the batch."""


def time_candidate(
    source: Path,
    candidate: Path,
    feeds: Sequence[Feed],
    cells: Sequence[Cell],
    *,
    pace: str = "close",
    sweep: Sequence[int] = (),
    begun: Mapping[Cell, Rounds] | None = None,
) -> dict[str, Any]:
    """Figures for each cell, time to load, resident memory; `pace` is a name of `PACES`. Rounded.
    `between` is the 95 % interval of the ratio at batch 1 with the first number of threads, and
    `rounds` what each cell's figures are made of, `begun` included: rounds of an earlier look,
    which are gone on with.

    Latency is that of batch 1, and told with a batch only where both are asked for; throughput is
    that of the batch. Batches that the source cannot do, and those of a candidate that is surely
    slower, are left out. `sweep` are batches for the number of threads that is best at batch 1.
    """
    told: dict[str, Any] = {"figures": [], "rounds": []}
    begun = begun or {}
    latencies: dict[int, dict[str, float]] = {}
    opened: dict[int, tuple[Any, Any]] = {}
    for threads in sorted({count for count, _ in cells}, reverse=True):
        batches = sorted(batch for count, batch in cells if count == threads)
        opened = {threads: _opened(source, candidate, feeds, threads, told)}
        if batches[0] == 1:
            calls = [caller(one, feeds) for one in opened[threads]]
            single = _rounds(calls, PACES[pace], begun.get((threads, 1), ()))
            told["between"] = interval(single)
            latencies[threads] = latency_of(single)
            told["figures"].append(figures_of(threads, 1, single) | latencies[threads])
            told["rounds"].append([threads, 1, single])
            if interval(single)[1] < SURELY_SLOWER:
                continue
        for batch, many in _batches(opened[threads], feeds, batches, threads, pace, begun):
            told["figures"].append(figures_of(threads, batch, many) | latencies.get(threads, {}))
            told["rounds"].append([threads, batch, many])
    if sweep and latencies:
        threads = fewest_threads({n: one["latency_p50_ms"] for n, one in latencies.items()})
        sessions = opened.get(threads) or _opened(source, candidate, feeds, threads, told)
        for batch, many in _batches(sessions, feeds, sweep, threads, pace, begun):
            told["figures"].append(figures_of(threads, batch, many) | latencies[threads])
            told["rounds"].append([threads, batch, many])
    return told


def fewest_threads(latency: Mapping[int, float]) -> int:
    """The fewest threads with which latency is within a tenth of the best."""
    bound = min(latency.values()) * 1.1
    return min(threads for threads, own in latency.items() if own <= bound)


def _opened(
    source: Path, candidate: Path, feeds: Sequence[Feed], threads: int, told: dict[str, Any]
) -> tuple[Any, Any]:
    """Sessions of both, the candidate's first, whose load and memory are `told`."""
    before, started = resident(), time.perf_counter()
    own = open_session(candidate, threads, in_turns=True)
    seconds = time.perf_counter() - started
    own.run(None, feeds[0])
    told.setdefault("load_ms", round(seconds * 1e3, 1))
    told.setdefault("resident_bytes", max(0, resident() - before))
    return open_session(source, threads, in_turns=True), own


def _batches(
    sessions: tuple[Any, Any],
    feeds: Sequence[Feed],
    batches: Sequence[int],
    threads: int,
    pace: str,
    begun: Mapping[Cell, Rounds],
) -> Iterator[tuple[int, Rounds]]:
    for batch in batches:
        stacked = [stack(feeds, batch)] if batch > 1 else []
        if stacked and _takes(sessions[0], stacked[0]):
            calls = [caller(one, stacked) for one in sessions]
            yield batch, _rounds(calls, BATCH_PACES[pace], begun.get((threads, batch), ()))


def look_at_all(
    source: Path, candidates: Mapping[str, Path], feeds: Sequence[Feed]
) -> dict[str, dict[str, Any]]:
    """A first look at each: batch 1 on one thread, the source being loaded once for all of them.
    What `time_candidate` gives, without memory; under the empty name the source itself, from all
    rounds together."""
    base, told = open_session(source, 1, in_turns=True), {}
    times: list[float] = []
    for name, path in candidates.items():
        started = time.perf_counter()
        own = open_session(path, 1, in_turns=True)
        load = round((time.perf_counter() - started) * 1e3, 1)
        rounds = _rounds([caller(base, feeds), caller(own, feeds)], LOOK)
        times += [seconds for seconds, _ in rounds]
        figures = figures_of(1, 1, rounds) | latency_of(rounds)
        told[name] = {"figures": [figures], "load_ms": load, "between": interval(rounds)}
        told[name]["rounds"] = [[1, 1, rounds]]
        del own
    itself = [(seconds, seconds) for seconds in times]
    told[""] = {"figures": [figures_of(1, 1, itself) | latency_of(itself)]}
    return told


def interval(rounds: Rounds) -> tuple[float, float]:
    """A 95 % confidence interval of the median ratio, from order statistics; no distribution is
    assumed (Conover, Practical Nonparametric Statistics, section 3.2, normal approximation)."""
    ratios = sorted(base / own for base, own in rounds)
    count = len(ratios)
    reach = 0.98 * math.sqrt(count)
    low = max(0, math.floor(count / 2 - reach))
    high = min(count - 1, math.ceil(count / 2 + reach))
    return ratios[low], ratios[high]


def figures_of(threads: int, batch: int, rounds: Rounds) -> dict[str, Any]:
    """The figures of one cell, without latency."""
    low, high = interval(rounds)
    ratio = median(base / own for base, own in rounds)
    return {
        "threads": threads,
        "batch": batch,
        "rounds": len(rounds),
        "throughput_per_s": round(batch / median(candidate for _, candidate in rounds), 1),
        "throughput_speedup": round(ratio, 2),
        "spread": round((high - low) / 2 / ratio, 3),
    }


def latency_of(single: Rounds) -> dict[str, float]:
    """Latency as rounds at batch 1 tell it."""
    ordered = sorted(candidate for _, candidate in single)
    return {
        "latency_p50_ms": round(median(ordered) * 1e3, 3),
        "latency_p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 3),
        "latency_speedup": round(median(base / own for base, own in single), 2),
    }


def _rounds(
    calls: Sequence[Callable[[int], float]], pace: Pace, begun: Iterable[Sequence[float]] = ()
) -> Rounds:
    """Seconds of (source, candidate) for each round, after those that were `begun` with."""
    for turn in range(pace.warm_up):
        for call in calls:
            call(turn)
    seconds: Rounds = [(base, own) for base, own in begun]
    started = time.monotonic()
    for turn in range(len(seconds), pace.at_most):
        late = time.monotonic() - started > pace.seconds
        if turn >= pace.at_least and (late or _known_well(seconds, pace.known)):
            break
        if turn % 2:
            own = calls[1](turn)
            base = calls[0](turn)
        else:
            base = calls[0](turn)
            own = calls[1](turn)
        seconds.append((base, own))
    return seconds


def _known_well(rounds: Rounds, known: float) -> bool:
    low, high = interval(rounds)
    return high < SURELY_SLOWER or high - low <= 2 * known * high


def caller(session: Any, feeds: Sequence[Feed]) -> Callable[[int], float]:
    """Runs the session on the feed of a turn, and gives the seconds that it took."""

    def call(turn: int) -> float:
        feed = feeds[turn % len(feeds)]
        begun = time.perf_counter()
        session.run(None, feed)
        return time.perf_counter() - begun

    return call


def _takes(source: Any, feed: Feed) -> bool:
    """Whether the source can do batches at all; some declare a free dimension and fix it inside.

    Only the source is forgiven: a candidate that fails where the source works is broken.
    """
    try:
        source.run(None, feed)
    except Exception:  # the engine's exceptions have no common base but this
        return False
    return True


def stack(feeds: Sequence[Feed], batch: int) -> Feed:
    """`batch` samples as one input; samples repeat when there are fewer."""
    chosen = [feeds[index % len(feeds)] for index in range(batch)]
    return {name: np.concatenate([feed[name] for feed in chosen]) for name in chosen[0]}


def resident() -> int:
    """Bytes of this process that lie in memory (proc(5), statm); 0 where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096
