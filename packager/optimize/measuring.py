"""What figures say where: which machine this is, for which profiles its figures count, and over
which threads and batches a model is timed here.

Figures for a profile that this machine is not are estimates, and `where` says so; for an
accelerator a CPU's figures say nothing, and none are made.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model
from packager.optimize.engine import engine_version
from packager.optimize.legality import CPU
from packager.optimize.record import Row

BATCHES = (1, 4, 16)
THREADS_AT_MOST = 4

# Go's word for an architecture → what `uname -m` says.
_MACHINES = {"amd64": ("x86_64", "amd64"), "arm64": ("aarch64", "arm64")}


def batches(source: Model, *, stackable: bool) -> tuple[int, ...]:
    """1, 4 and 16, or 1 alone where the model or its samples take no batches."""
    taken = stackable and all(spec.shape[:1] == (-1,) for spec in source.inputs)
    return BATCHES if taken else (1,)


def thread_counts() -> tuple[int, ...]:
    """1, 2 and 4, up to the processors that this process may use."""
    usable = len(os.sched_getaffinity(0))
    return tuple(count for count in (1, 2, THREADS_AT_MOST) if count <= usable) or (1,)


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
