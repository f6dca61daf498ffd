"""Gets figures for every eligible candidate: from the record where it has them, else by timing.

Each candidate is timed against the source in a process of its own (`timing`), one after the other,
while nothing else of ours runs. Figures for a profile that this machine is not are estimates, and
`where` says so; for an accelerator a CPU's figures say nothing, and none are made.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model, Objective
from packager.optimize.choosing import NOISE
from packager.optimize.engine import engine_version
from packager.optimize.legality import CPU
from packager.optimize.making import Workshop
from packager.optimize.processes import Failure
from packager.optimize.record import Figures, MeasurementRecord, Row
from packager.progress import Progress

BATCHES = (1, 4, 16)
THREADS_AT_MOST = 4

MARGIN = {Objective.LATENCY: 0.8, Objective.THROUGHPUT: 0.6, Objective.COST: 0.6}
"""How far a candidate may lie behind at batch 1 on one thread and still be timed in full. The
winner is safe as long as threads and batches move the ratio of two candidates by less than a fifth,
or two for throughput, which is timed in batches. Measured (benchmarks/optimize/search.py): batches
on one thread moved it by up to 1.08 on a convolutional network and 1.41 on MiniLM, where the bound
for throughput is 1.67. For more threads it is assumed: two cores that others use told nothing."""
RACE_FROM = 4
"""With fewer candidates than this a first look costs more than it saves."""

# Go's word for an architecture → what `uname -m` says.
_MACHINES = {"amd64": ("x86_64", "amd64"), "arm64": ("aarch64", "arm64")}


def measure(
    workshop: Workshop,
    models: Mapping[str, Model],
    hardware: HardwareProfile,
    record: MeasurementRecord,
    progress: Progress,
    objective: Objective = Objective.LATENCY,
) -> tuple[dict[str, Row], dict[str, Failure]]:
    """Candidate name → its figures, and why some have none. `models` includes the source.

    What the record says of this very profile counts for every profile: a site's own figures, or
    those of a borrowed machine, are how an accelerator is measured.
    """
    rows: dict[str, Row] = {}
    failures: dict[str, Failure] = {}
    wanted: dict[str, Model] = {}
    source = workshop.source.digest
    for name, model in sorted(models.items()):
        known = record.find(source, model.digest, hardware.id)
        if known is not None and not known.compared:
            known = _compared(known, record, source)
        twin = record.elsewhere(source, model.digest, host()) if measurable(hardware) else None
        if known is None and twin is not None:
            known = replace(twin, hardware=hardware.id)
        if known is not None:
            rows[name] = known
        if measurable(hardware) and not (known and known.compared):
            wanted[name] = model
    timed, failures = _race(workshop, wanted, models, hardware, progress, objective)
    for name, row in timed.items():
        site = rows.get(name)
        rows[name] = site.compared_like(row) if site else row
    progress.advance("measured", len(models), len(models))
    return rows, failures


def _compared(row: Row, record: MeasurementRecord, source: Digest) -> Row:
    """A site's row with ratios, where the same site timed the source as well."""
    base = record.find(source, source, row.hardware)
    same = base is not None and base.measured_on == row.measured_on
    return row.compared_with(base) if base and same else row


def _race(
    workshop: Workshop,
    wanted: Mapping[str, Model],
    models: Mapping[str, Model],
    hardware: HardwareProfile,
    progress: Progress,
    objective: Objective,
) -> tuple[dict[str, Row], dict[str, Failure]]:
    """Time `wanted` in two rungs: all at batch 1 on one thread, then those over threads and batches
    that can still be the choice (successive halving: Jamieson & Talwalkar, AISTATS 2016, with a
    margin in place of a half). What fell behind keeps the figures of its first look.
    """
    rows: dict[str, Row] = {}
    failures: dict[str, Failure] = {}
    between: dict[str, tuple[float, float]] = {}
    whole = _thread_counts(), _batches(workshop)
    first = whole if len(wanted) < RACE_FROM else ([1], [1])
    for position, (name, model) in enumerate(wanted.items()):
        progress.advance(f"measuring {name}", position, len(models))
        timed = _time(workshop, name, model, hardware, *first)
        if isinstance(timed, Failure):
            failures[name] = timed
        else:
            rows[name], between[name] = timed
            progress.outcome(name, "measured", _figures_told(rows[name], between[name]))
    if first == whole:
        return rows, failures
    sizes = {name: wanted[name].size for name in rows}
    for name in in_the_race(between, sizes, objective):
        progress.advance(f"measuring {name} over threads and batches", len(rows), len(models))
        timed = _time(workshop, name, wanted[name], hardware, *whole)
        if isinstance(timed, Failure):
            failures[name] = timed
            del rows[name]
        else:
            rows[name] = timed[0]
            progress.outcome(name, "measured", _figures_told(*timed))
    return rows, failures


def _figures_told(row: Row, between: tuple[float, float]) -> str:
    """For the table that grows: the ratio at batch 1, and the most there is in batches."""
    first = row.figures[0]
    told = (
        f"{first.latency_speedup:.2f}× the source's speed ({between[0]:.2f} to {between[1]:.2f}),"
        f" p50 {first.latency_p50_ms:g} ms"
    )
    most = max(row.figures, key=lambda one: one.throughput_per_s)
    if len(row.figures) == 1:
        return told
    return (
        f"{told}; {most.throughput_per_s:g}/s with {most.threads} threads, batches of {most.batch}"
    )


def in_the_race(
    between: Mapping[str, tuple[float, float]], sizes: Mapping[str, int], objective: Objective
) -> list[str]:
    """Which candidates can still be the choice: their ratio to the source at batch 1 on one thread,
    at its best, is not behind the best one's at its worst by more than `MARGIN`; for size, those
    near the smallest. Pure."""
    if objective is Objective.SIZE:
        bound = min(sizes.values(), default=0) * (1 + 2 * NOISE)
        return sorted(name for name, size in sizes.items() if size <= bound)
    best = max((low for low, _ in between.values()), default=0.0)
    return sorted(name for name, (_, high) in between.items() if high >= best * MARGIN[objective])


def measurable(hardware: HardwareProfile) -> bool:
    """Whether a CPU's figures say anything about the profile."""
    return hardware.execution_provider == CPU


def where(hardware: HardwareProfile, rows: Mapping[str, Row]) -> str:
    """`measured on <cpu>, onnxruntime <version>`, and for what else it is an estimate."""
    hosts = sorted({row.measured_on for row in rows.values()})
    if not hosts:
        return f"not measured: no figures for {hardware.id} can be made on a CPU"
    told = f"measured on {' and '.join(hosts)}"
    if elsewhere := sorted({row.compared_on for row in rows.values() if row.compared_on}):
        told += f", compared with the source on {' and '.join(elsewhere)}"
    if not measurable(hardware) or _is_host(hardware, hosts):
        return told  # figures for an accelerator come from a record of that accelerator only
    return f"{told}; estimated for {hardware.id}"


def host() -> str:
    """This machine in words that are the same on all of its kind: CPU model and engine."""
    return f"{_cpu_model()} ({platform.machine()}), onnxruntime {engine_version()}"


def _is_host(hardware: HardwareProfile, hosts: list[str]) -> bool:
    """Whether every host has the profile's architecture (its machine stands in brackets)."""
    machines = _MACHINES.get(hardware.platform.architecture, (hardware.platform.architecture,))
    return all(any(f"({machine})" in text for machine in machines) for text in hosts)


def _batches(workshop: Workshop) -> list[int]:
    taken = _takes_batches(workshop.source, workshop.samples.stackable)
    return list(BATCHES) if taken else [1]


def _time(
    workshop: Workshop,
    name: str,
    model: Model,
    hardware: HardwareProfile,
    threads: list[int],
    batches: list[int],
) -> tuple[Row, tuple[float, float]] | Failure:
    """The row, and between what its ratio at batch 1 lies."""
    samples = workshop.samples
    task = {
        "task": "measure",
        "source": str(workshop.source.files[0].path),
        "candidate": str(model.files[0].path),
        "samples": str(workshop.folder / "evaluation.npz"),
        "batched": dict(samples.batched),
        "start": 0,
        "stop": min(len(samples.evaluation), 2 * BATCHES[-1]),
        "threads": threads,
        "batches": batches,
    }
    result = workshop.workers.do(f"measure-{name}", task, workshop.folder)
    if isinstance(result, Failure):
        return Failure(f"could not be measured: {result.reason}")
    low, high = result["between"]
    row = Row(
        source=workshop.source.digest,
        candidate=model.digest,
        hardware=hardware.id,
        measured_on=result.get("host") or host(),
        figures=tuple(sorted(Figures(**figures) for figures in result["figures"])),
        load_ms=result["load_ms"],
        resident_bytes=result["resident_bytes"],
    )
    return row, (float(low), float(high))


def _takes_batches(source: Model, stackable: bool) -> bool:
    return stackable and all(spec.shape[:1] == (-1,) for spec in source.inputs)


def _thread_counts() -> list[int]:
    """1, 2, 4, … up to the processors that this process may use."""
    usable = len(os.sched_getaffinity(0))
    return [count for count in (1, 2, THREADS_AT_MOST) if count <= usable] or [1]


def _cpu_model() -> str:
    """`model name` of /proc/cpuinfo; ARM kernels give implementer and part numbers instead."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown CPU"
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    if name := facts.get("model name"):
        return name
    if part := facts.get("CPU part"):
        return f"ARM implementer {facts.get('CPU implementer', '?')} part {part}"
    return platform.processor() or "unknown CPU"
