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
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from packager.optimize.engine import open_session
from packager.optimize.samples import Feed

WARM_UP = 3
ROUNDS_AT_LEAST = 15
BATCH_ROUNDS_AT_LEAST = 7
ROUNDS_AT_MOST = 300
SECONDS = 1.5
"""What the rounds of one comparison may take together, beyond the smallest number of rounds."""

KNOWN_WELL = 0.015
"""Rounds end when the 95 % interval of the median ratio is at most this wide to either side."""
SURELY_SLOWER = 0.8

Rounds = list[tuple[float, float]]


def time_candidate(
    source: Path,
    candidate: Path,
    feeds: Sequence[Feed],
    threads: Sequence[int],
    batches: Sequence[int],
) -> dict[str, Any]:
    """Figures for each number of threads and each batch, time to load, resident memory. Rounded.
    `between` is the 95 % interval of the ratio at batch 1 with the first number of threads.

    Latency is that of batch 1 with these threads; throughput that of the batch.
    """
    loaded: dict[str, Any] = {}
    figures: list[dict[str, Any]] = []
    for count in threads:
        before, started = _resident(), time.perf_counter()
        own = open_session(candidate, count)
        seconds = time.perf_counter() - started
        own.run(None, feeds[0])
        loaded = loaded or {
            "load_ms": round(seconds * 1e3, 1),
            "resident_bytes": max(0, _resident() - before),
        }
        sessions = (open_session(source, count), own)
        single = _rounds([_caller(session, feeds) for session in sessions], ROUNDS_AT_LEAST)
        loaded.setdefault("between", interval(single))
        figures.append(_figures(count, 1, single, single))
        if interval(single)[1] < SURELY_SLOWER:
            break
        figures += _batches(sessions, feeds, count, batches, single)
    return {"figures": figures, **loaded}


def time_pair(
    source: Path, candidate: Path, feeds: Sequence[Feed], threads: int, batch: int
) -> dict[str, Any]:
    """Latency at batch 1 and throughput at `batch`, with `threads` threads. Rounded."""
    return dict(time_candidate(source, candidate, feeds, [threads], [batch])["figures"][-1])


def interval(rounds: Rounds) -> tuple[float, float]:
    """A 95 % confidence interval of the median ratio, from order statistics; no distribution is
    assumed (Conover, Practical Nonparametric Statistics, section 3.2, normal approximation)."""
    ratios = sorted(base / own for base, own in rounds)
    count = len(ratios)
    reach = 0.98 * math.sqrt(count)
    low = max(0, math.floor(count / 2 - reach))
    high = min(count - 1, math.ceil(count / 2 + reach))
    return ratios[low], ratios[high]


def _batches(
    sessions: tuple[Any, Any],
    feeds: Sequence[Feed],
    count: int,
    batches: Sequence[int],
    single: Rounds,
) -> list[dict[str, Any]]:
    figures = []
    for batch in batches:
        if batch <= 1:
            continue
        stacked = [_stack(feeds, batch)]
        if not _takes(sessions[0], stacked[0]):
            break
        calls = [_caller(session, stacked) for session in sessions]
        many = _rounds(calls, BATCH_ROUNDS_AT_LEAST)
        figures.append(_figures(count, batch, single, many))
    return figures


def _figures(threads: int, batch: int, single: Rounds, many: Rounds) -> dict[str, Any]:
    ordered = sorted(candidate for _, candidate in single)
    return {
        "threads": threads,
        "batch": batch,
        "rounds": len(many),
        "latency_p50_ms": round(median(ordered) * 1e3, 3),
        "latency_p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 3),
        "throughput_per_s": round(batch / median(candidate for _, candidate in many), 1),
        "latency_speedup": round(median(base / own for base, own in single), 2),
        "throughput_speedup": round(median(base / own for base, own in many), 2),
    }


def _rounds(calls: Sequence[Callable[[int], float]], at_least: int) -> Rounds:
    """Seconds of (source, candidate) for each round."""
    for turn in range(WARM_UP):
        for call in calls:
            call(turn)
    seconds: Rounds = []
    started = time.monotonic()
    for turn in range(ROUNDS_AT_MOST):
        if turn >= at_least and (time.monotonic() - started > SECONDS or _known_well(seconds)):
            break
        if turn % 2:
            own = calls[1](turn)
            base = calls[0](turn)
        else:
            base = calls[0](turn)
            own = calls[1](turn)
        seconds.append((base, own))
    return seconds


def _known_well(rounds: Rounds) -> bool:
    low, high = interval(rounds)
    return high < SURELY_SLOWER or high - low <= 2 * KNOWN_WELL * high


def _caller(session: Any, feeds: Sequence[Feed]) -> Callable[[int], float]:
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


def _stack(feeds: Sequence[Feed], batch: int) -> Feed:
    """`batch` samples as one input; samples repeat when there are fewer."""
    chosen = [feeds[index % len(feeds)] for index in range(batch)]
    return {name: np.concatenate([feed[name] for feed in chosen]) for name in chosen[0]}


def _resident() -> int:
    """Bytes of this process that lie in memory (proc(5), statm); 0 where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096
