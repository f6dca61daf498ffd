"""A machine as the kernel and the driver tell it, and the profiles that fit."""

from __future__ import annotations

from pathlib import Path

from packager.catalogue import load_catalogue
from packager.catalogue.detecting import Gpu, Machine, look, propose, unmatched

CATALOGUE = load_catalogue()
ALL = [CATALOGUE.hardware(name) for name in CATALOGUE.hardware_ids()]
V3 = frozenset({"avx2", "fma"})
AMX = V3 | {"avx512f", "avx512_vnni", "amx_int8"}
NO_SMI = ("/nonexistent/nvidia-smi",)


def _smi(folder: Path, script: str) -> tuple[str, ...]:
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{script}\n")
    return ("/bin/sh", str(file))


def test_a_gpu_is_found_by_the_name_that_the_driver_gives() -> None:
    machine = Machine("amd64", "a CPU", V3, (Gpu("NVIDIA L4", "550.54"),))
    first, newer, cpu = propose(machine, ALL)
    assert (first.hardware, first.against) == ("nvidia-l4", ())
    assert newer.hardware == "nvidia-l4-cuda13"
    assert "older than 580" in newer.against[0]
    assert cpu.hardware == "x86-64-v3"


def test_an_old_driver_is_told() -> None:
    machine = Machine("amd64", "a CPU", V3, (Gpu("NVIDIA B200", "570.1"),))
    assert "older than 580" in propose(machine, ALL)[0].against[0]


def test_a_device_that_cannot_be_packaged_is_told_with_its_reason() -> None:
    machine = Machine("arm64", "a CPU", frozenset({"asimd"}), (Gpu("NVIDIA GB10", "580.1"),))
    first, second = propose(machine, ALL)
    assert first.hardware == "nvidia-dgx-spark-gb10"
    assert first.against == (CATALOGUE.hardware("nvidia-dgx-spark-gb10").unpackaged,)
    assert second.hardware == "arm64-v8"


def test_the_cpu_class_with_the_most_instructions_wins_in_any_order() -> None:
    machine = Machine("amd64", "a CPU", AMX)
    assert [one.hardware for one in propose(machine, ALL)] == ["intel-xeon-amx"]
    assert propose(machine, ALL[::-1]) == propose(machine, ALL)


def test_nothing_is_proposed_for_a_cpu_below_every_class() -> None:
    assert propose(Machine("amd64", "an old CPU", frozenset({"sse2"})), ALL) == ()
    assert propose(Machine("riscv64", "another", V3), ALL) == ()


def test_an_unknown_device_is_named() -> None:
    machine = Machine("amd64", "a CPU", V3, (Gpu("NVIDIA Z9", "600"),), ("AMD", "NVIDIA"))
    assert unmatched(machine, ALL) == ("NVIDIA Z9", "a device of AMD")


def test_a_machine_is_read_from_proc_sys_and_the_driver(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    text = "processor : 0\nmodel name : A CPU\nflags : avx2 fma\n\nprocessor : 1\nflags : none\n"
    (tmp_path / "proc/cpuinfo").write_text(text)
    for name, kind, vendor in (("0", "0x120000", "0x1e60"), ("1", "0x020000", "0x1002")):
        device = tmp_path / "sys/bus/pci/devices" / name
        device.mkdir(parents=True)
        (device / "class").write_text(kind)
        (device / "vendor").write_text(vendor)
    smi = _smi(tmp_path, "echo 'NVIDIA L4, 550.54.15'; echo 'no row'")
    machine = look(tmp_path, smi)
    assert (machine.cpu, machine.instructions) == ("A CPU", V3)
    assert machine.gpus == (Gpu("NVIDIA L4", "550.54.15"),)
    assert machine.other == ("Hailo",)


def test_a_failing_or_missing_driver_tool_is_no_gpu(tmp_path: Path) -> None:
    assert look(tmp_path, _smi(tmp_path, "echo 'NVIDIA L4, 1'; exit 9")).gpus == ()
    assert look(tmp_path, NO_SMI).gpus == ()
    assert look(tmp_path, NO_SMI).instructions == frozenset()
