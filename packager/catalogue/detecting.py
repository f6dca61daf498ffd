"""Which profiles fit the machine that we run on. A proposal: figures of a profile are its own.

`look` reads what the kernel and the driver tell; `propose` compares it with the catalogue and does
no I/O. An NVIDIA GPU is known by its product name, which is also the node label that GPU feature
discovery gives it; a CPU by the instructions that the kernel lists.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packager.domain.hardware import HardwareProfile
from packager.domain.provider_wheel import objections

# Profiles of CPUs that stand for a class; those of one product say more than instructions show.
_CLASSES = ("x86-64-v3", "arm64-v8", "intel-xeon-amx")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SMI = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_SMI_SECONDS = 20
_PCI_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x1e60": "Hailo", "0x19e5": "Huawei"}
_PCI_CLASSES = ("0x03", "0x12")  # display controllers and processing accelerators


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU in the driver's words."""

    name: str
    driver: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What was seen. `other` are vendors of devices that only the bus tells of."""

    architecture: str
    cpu: str
    instructions: frozenset[str]
    gpus: tuple[Gpu, ...] = ()
    other: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile, why it is proposed, and what stands against it (empty when nothing does)."""

    hardware: str
    why: str
    against: tuple[str, ...] = ()


def look(root: Path = Path("/"), smi: tuple[str, ...] = _SMI) -> Machine:
    """This machine: `/proc/cpuinfo`, the PCI bus, and `nvidia-smi` where there is one."""
    facts = _cpuinfo(root / "proc/cpuinfo")
    machine = platform.machine()
    return Machine(
        architecture=_ARCHITECTURES.get(machine, machine),
        cpu=facts.get("model name") or facts.get("CPU part") or "unknown CPU",
        instructions=frozenset((facts.get("flags") or facts.get("Features") or "").split()),
        gpus=_gpus(smi),
        other=_on_the_bus(root / "sys/bus/pci/devices"),
    )


def propose(machine: Machine, profiles: Iterable[HardwareProfile]) -> tuple[Proposal, ...]:
    """Profiles that fit, accelerators first, those that nothing stands against before others;
    then the CPU class with the most instructions."""
    usable = [one for one in profiles if one.platform.architecture == machine.architecture]
    found = [
        _for_gpu(gpu, profile)
        for gpu in sorted(set(machine.gpus), key=lambda gpu: gpu.name)
        for profile in usable
        if profile.accelerator and profile.accelerator.product == _label(gpu)
    ]
    found.sort(key=lambda proposal: (bool(proposal.against), proposal.why, proposal.hardware))
    classes = [
        one for one in usable if one.id in _CLASSES and one.instructions <= machine.instructions
    ]
    if classes:
        best = max(classes, key=lambda one: (len(one.instructions), one.id))
        told = ", ".join(sorted(best.instructions))
        found.append(Proposal(best.id, f"{machine.cpu} has {told}"))
    return tuple(found)


def unmatched(machine: Machine, profiles: Iterable[HardwareProfile]) -> tuple[str, ...]:
    """Devices that were seen and that no profile of the catalogue stands for."""
    products = {one.accelerator.product for one in profiles if one.accelerator}
    unknown = {gpu.name for gpu in machine.gpus if _label(gpu) not in products}
    silent = {f"a device of {one}" for one in machine.other if one != "NVIDIA" or not machine.gpus}
    return tuple(sorted(unknown | silent))


def _for_gpu(gpu: Gpu, profile: HardwareProfile) -> Proposal:
    against = [objection.why for objection in objections(profile)]
    floor = profile.accelerator.driver_floor if profile.accelerator else None
    if floor and _major(gpu.driver) < _major(floor):
        against.append(f"driver {gpu.driver} is older than {floor}, which the wheel needs")
    return Proposal(profile.id, f"{gpu.name}, driver {gpu.driver}", tuple(against))


def _label(gpu: Gpu) -> str:
    """The name as GPU feature discovery labels it: spaces are dashes."""
    return gpu.name.replace(" ", "-")


def _major(version: str) -> int:
    major = version.partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _cpuinfo(file: Path) -> dict[str, str]:
    """The first value of each key."""
    facts: dict[str, str] = {}
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return facts
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


def _gpus(command: tuple[str, ...]) -> tuple[Gpu, ...]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    rows = (line.rpartition(",") for line in done.stdout.splitlines())
    return tuple(Gpu(name.strip(), driver.strip()) for name, comma, driver in rows if comma)


def _on_the_bus(devices: Path) -> tuple[str, ...]:
    """Vendors of accelerators on the PCI bus, whether or not a driver is there."""
    found = set()
    for device in sorted(devices.glob("*")):
        try:
            kind = (device / "class").read_text().strip()
            vendor = (device / "vendor").read_text().strip()
        except OSError:
            continue
        if kind.startswith(_PCI_CLASSES) and vendor in _PCI_VENDORS:
            found.add(_PCI_VENDORS[vendor])
    return tuple(sorted(found))
