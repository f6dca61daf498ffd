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

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model
from packager.optimize.engine import engine_version
from packager.optimize.legality import CPU
from packager.optimize.making import Workshop
from packager.optimize.processes import Failure
from packager.optimize.record import Figures, MeasurementRecord, Row
from packager.progress import Progress

BATCHES = (1, 4, 16)
THREADS_AT_MOST = 4

# Go's word for an architecture → what `uname -m` says.
_MACHINES = {"amd64": ("x86_64", "amd64"), "arm64": ("aarch64", "arm64")}


def measure(
    workshop: Workshop,
    models: Mapping[str, Model],
    hardware: HardwareProfile,
    record: MeasurementRecord,
    progress: Progress,
) -> tuple[dict[str, Row], dict[str, Failure]]:
    """Candidate name → its figures, and why some have none. `models` includes the source.

    What the record says of this very profile counts for every profile: a site's own figures, or
    those of a borrowed machine, are how an accelerator is measured.
    """
    rows: dict[str, Row] = {}
    failures: dict[str, Failure] = {}
    source = workshop.source.digest
    for position, (name, model) in enumerate(sorted(models.items())):
        known = record.find(source, model.digest, hardware.id)
        if known is None and not measurable(hardware):
            continue
        if known is None and (twin := record.elsewhere(source, model.digest, host())):
            known = replace(twin, hardware=hardware.id)
        if known is None:
            progress.advance(f"measuring {name}", position, len(models))
            timed = _time(workshop, name, model, hardware)
            if isinstance(timed, Failure):
                failures[name] = timed
                continue
            known = timed
        rows[name] = known
    progress.advance("measured", len(models), len(models))
    return rows, failures


def measurable(hardware: HardwareProfile) -> bool:
    """Whether a CPU's figures say anything about the profile."""
    return hardware.execution_provider == CPU


def where(hardware: HardwareProfile, rows: Mapping[str, Row]) -> str:
    """`measured on <cpu>, onnxruntime <version>`, and for what else it is an estimate."""
    hosts = sorted({row.measured_on for row in rows.values()})
    if not hosts:
        return f"not measured: no figures for {hardware.id} can be made on a CPU"
    told = f"measured on {' and '.join(hosts)}"
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


def _time(workshop: Workshop, name: str, model: Model, hardware: HardwareProfile) -> Row | Failure:
    samples = workshop.samples
    batches = BATCHES if _takes_batches(workshop.source, samples.stackable) else (1,)
    task = {
        "task": "measure",
        "source": str(workshop.source.files[0].path),
        "candidate": str(model.files[0].path),
        "samples": str(workshop.folder / "evaluation.npz"),
        "batched": dict(samples.batched),
        "start": 0,
        "stop": min(len(samples.evaluation), 2 * BATCHES[-1]),
        "threads": _thread_counts(),
        "batches": list(batches),
    }
    result = workshop.workers.do(f"measure-{name}", task, workshop.folder)
    if isinstance(result, Failure):
        return Failure(f"could not be measured: {result.reason}")
    return Row(
        source=workshop.source.digest,
        candidate=model.digest,
        hardware=hardware.id,
        measured_on=host(),
        figures=tuple(sorted(Figures(**figures) for figures in result["figures"])),
        load_ms=result["load_ms"],
        resident_bytes=result["resident_bytes"],
    )


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
