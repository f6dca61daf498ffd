"""The site's own figures: `--measure` times each model on this very machine and prints a record.

What the figures mean is what `packager build` measures: latency at batch 1, throughput for each
number of threads and size of batch. The record is what `packager build --measurements` reads. The
source of the model is not in the image, so that a model which is not its own source has no
speed-up; whoever reads the record compares it with another one of the same machine. No port is
opened, and every check of a start is made before.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np

from .configuration import Configuration, ModelSettings
from .datatypes import BF16, BYTES, Array, TensorSpec
from .errors import ExitCode, Refusal
from .golden import golden_inputs, self_test
from .gpu import Gpus
from .integrity import verified
from .session import Session, open_session
from .silence import onnxruntime

KIND = {"apiVersion": "packager/v1", "kind": "MeasurementRecord"}
_CPU = "CPUExecutionProvider"
_THREADS = (1, 2, 4)
_BATCHES = {True: (1, 4, 16), False: (1, 4, 16, 64)}
_WARM_UP = 3
_ROUNDS = (15, 300)
_SECONDS = 1.5

Feed = Mapping[str, Array]


def measure(configuration: Configuration, out: TextIO, story: TextIO) -> ExitCode:
    """Write the record of all models to `out`; raises Refusal as a start would."""
    if not configuration.models:
        raise Refusal(ExitCode.CONFIGURATION, "there is no model whose inferences could be timed")
    rows = [_row(configuration, settings, story) for settings in configuration.models]
    json.dump({**KIND, "measurements": rows}, out, indent=2, sort_keys=True, ensure_ascii=False)
    out.write("\n")
    out.flush()
    return ExitCode.OK


def _row(configuration: Configuration, settings: ModelSettings, story: TextIO) -> dict[str, Any]:
    origin = settings.origin
    if origin is None:
        raise Refusal(ExitCode.CONFIGURATION, f"{settings}: server.json does not say its origin")
    contents = verified(configuration.folder, settings)
    graph = contents[settings.path]
    golden = contents[settings.golden.path] if settings.golden else None
    feeds = _feeds(settings, golden)
    own = origin.source == origin.model
    on_cpu = settings.execution_provider == _CPU
    figures: list[dict[str, Any]] = []
    loaded: dict[str, Any] = {}
    for threads in _thread_counts() if on_cpu else (max(1, settings.intra_op_threads),):
        before, began = _resident(), time.perf_counter()
        session = open_session(
            configuration.folder, settings._replace(intra_op_threads=threads), graph
        )
        seconds = time.perf_counter() - began
        if golden is not None:
            self_test(session, golden)
        loaded = loaded or {
            "load_ms": round(seconds * 1e3, 1),
            "resident_bytes": max(0, _resident() - before),
        }
        single = _seconds(session, feeds)
        for batch in _BATCHES[on_cpu]:
            many = single if batch == 1 else _batched(session, settings, feeds, batch)
            if many is None:
                break
            figures.append(_figures(threads, batch, single, many, own))
            rate = figures[-1]["throughput_per_s"]
            story.write(f"{settings}: {threads} threads, batch {batch}: {rate:g} a second\n")
    return {
        "source": origin.source,
        "candidate": origin.model,
        "hardware": configuration.release.target.split("/")[1],
        "measured_on": host(on_cpu),
        "figures": figures,
        **loaded,
    }


def _figures(
    threads: int, batch: int, single: list[float], many: list[float], own: bool
) -> dict[str, Any]:
    ordered = sorted(single)
    figures = {
        "threads": threads,
        "batch": batch,
        "rounds": len(many),
        "latency_p50_ms": round(median(ordered) * 1e3, 3),
        "latency_p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 3),
        "throughput_per_s": round(batch / median(many), 1),
    }
    if own:
        figures |= {"latency_speedup": 1.0, "throughput_speedup": 1.0}
    return figures


def _batched(
    session: Session, settings: ModelSettings, feeds: list[Feed], batch: int
) -> list[float] | None:
    """Seconds of runs of `batch` rows; None when the model takes no batches."""
    if any(spec.shape[:1] != (-1,) for spec in settings.inputs):
        return None
    chosen = [feeds[turn % len(feeds)] for turn in range(batch)]
    try:
        stacked = {name: np.concatenate([feed[name] for feed in chosen]) for name in chosen[0]}
        session.run(stacked, [spec.name for spec in settings.outputs])
    except Exception:  # some declare a free dimension and fix it inside; rows may differ in shape
        return None
    return _seconds(session, [stacked])


def _seconds(session: Session, feeds: list[Feed]) -> list[float]:
    names = [spec.name for spec in session.settings.outputs]
    for turn in range(_WARM_UP):
        session.run(feeds[turn % len(feeds)], names)
    taken: list[float] = []
    started = time.monotonic()
    least, most = _ROUNDS
    while len(taken) < most and (len(taken) < least or time.monotonic() - started < _SECONDS):
        feed = feeds[len(taken) % len(feeds)]
        began = time.perf_counter()
        session.run(feed, names)
        taken.append(time.perf_counter() - began)
    return taken


def _feeds(settings: ModelSettings, golden: bytes | None) -> list[Feed]:
    """Inputs of one row: the golden ones, else zeros with 1 for what is free."""
    if golden is None:
        return [{spec.name: _zeros(spec) for spec in settings.inputs}]
    inputs = golden_inputs(settings, golden)
    by_row = all(spec.shape[:1] == (-1,) for spec in settings.inputs)
    counts = {len(array) for array in inputs.values()} if by_row else set()
    if len(counts) != 1 or 0 in counts:
        return [inputs]
    (count,) = counts
    return [{k: array[row : row + 1] for k, array in inputs.items()} for row in range(count)]


def _zeros(spec: TensorSpec) -> Array:
    shape = tuple(1 if size < 0 else size for size in spec.shape)
    if spec.datatype is BYTES:
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, np.uint16 if spec.datatype is BF16 else spec.datatype.dtype)


def host(on_cpu: bool) -> str:
    """This machine in words that are the same on all of its kind, as `packager build` says it."""
    names = [] if on_cpu else Gpus().names()
    name = names[0] if names else _cpu_model()
    return f"{name} ({platform.machine()}), onnxruntime {onnxruntime.__version__}"


def _cpu_model() -> str:
    """`model name` of /proc/cpuinfo; ARM kernels give implementer and part numbers instead."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    if name := facts.get("model name"):
        return name
    if part := facts.get("CPU part"):
        return f"ARM implementer {facts.get('CPU implementer', '?')} part {part}"
    return platform.processor() or "unknown CPU"


def _thread_counts() -> tuple[int, ...]:
    usable = len(os.sched_getaffinity(0))
    return tuple(count for count in _THREADS if count <= usable)


def _resident() -> int:
    """Bytes of this process that lie in memory (proc(5), statm); 0 where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
