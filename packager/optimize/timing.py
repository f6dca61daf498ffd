"""The stop-watch: one candidate against the source, in one process, in interleaved rounds.

A shared machine drifts: what is timed a minute later is timed on another machine. So each round
times source and candidate one right after the other, in alternating order, and the speed-up is the
median of the rounds' ratios. Runs in worker processes only.
"""

from __future__ import annotations

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


def time_pair(
    source: Path, candidate: Path, feeds: Sequence[Feed], threads: int, batch: int
) -> dict[str, Any]:
    """Latency at batch 1 and throughput at `batch`, with `threads` threads. Rounded."""
    sessions = (open_session(source, threads), open_session(candidate, threads))
    single = _rounds([_caller(session, feeds) for session in sessions])
    stacked = [_stack(feeds, batch)] if batch > 1 else []
    if stacked and not _takes(sessions[0], stacked[0]):
        stacked, batch = [], 1
    many = (
        _rounds([_caller(session, stacked) for session in sessions], BATCH_ROUNDS_AT_LEAST)
        if stacked
        else single
    )
    ordered = sorted(candidate for _, candidate in single)
    return {
        "threads": threads,
        "batch": batch,
        "rounds": len(single),
        "latency_p50_ms": round(median(ordered) * 1e3, 3),
        "latency_p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 3),
        "throughput_per_s": round(batch / median(candidate for _, candidate in many), 1),
        "latency_speedup": round(median(base / own for base, own in single), 2),
        "throughput_speedup": round(median(base / own for base, own in many), 2),
    }


def _rounds(
    calls: Sequence[Callable[[int], float]], at_least: int = ROUNDS_AT_LEAST
) -> list[tuple[float, float]]:
    """Seconds of (source, candidate) for each round."""
    for turn in range(WARM_UP):
        for call in calls:
            call(turn)
    seconds = []
    started = time.monotonic()
    for turn in range(ROUNDS_AT_MOST):
        if turn >= at_least and time.monotonic() - started > SECONDS:
            break
        if turn % 2:
            own = calls[1](turn)
            base = calls[0](turn)
        else:
            base = calls[0](turn)
            own = calls[1](turn)
        seconds.append((base, own))
    return seconds


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
