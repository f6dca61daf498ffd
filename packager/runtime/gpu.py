"""What NVIDIA's driver tells about the GPUs, through its management library (NVML).

The library belongs to the driver and may be missing; then there are no figures. Names are Triton's.
Source: NVML API reference (`nvmlDeviceGetPowerUsage` in mW, `nvmlDeviceGetTotalEnergyConsumption`
in mJ since the driver was loaded).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

Sample = tuple[str, str, dict[str, str], float]


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Gpus:
    """All GPUs that the driver shows to this process."""

    def __init__(self) -> None:
        self._library: Any = None
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return
        if library.nvmlInit_v2() == 0:
            self._library = library

    def names(self) -> list[str]:
        """The names of the GPUs, such as `NVIDIA L4`; empty without the library."""
        count = ctypes.c_uint()
        if self._library is None or self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return []
        found = []
        for index in range(count.value):
            device, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
            if self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
                continue
            if not self._library.nvmlDeviceGetName(device, name, len(name)):
                found.append(name.value.decode("utf-8", "replace"))
        return found

    def samples(self) -> list[Sample]:
        """Name, help, labels and value; empty without the library."""
        if self._library is None:
            return []
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return []
        return [sample for index in range(count.value) for sample in self._of(index)]

    def _of(self, index: int) -> Iterator[Sample]:
        device = ctypes.c_void_p()
        if self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
            return
        labels = {"gpu": str(index)}
        milliwatts, millijoules = ctypes.c_uint(), ctypes.c_ulonglong()
        memory, used = _Memory(), _Utilization()
        if not self._library.nvmlDeviceGetPowerUsage(device, ctypes.byref(milliwatts)):
            yield "nv_gpu_power_usage", "Power in watts", labels, milliwatts.value / 1e3
        if not self._library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)):
            yield (
                "nv_energy_consumption",
                "Energy in joules since the driver was loaded",
                labels,
                millijoules.value / 1e3,
            )
        if not self._library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(used)):
            yield "nv_gpu_utilization", "Part of the time in use", labels, used.gpu / 100
        if not self._library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
            yield "nv_gpu_memory_total_bytes", "Memory", labels, float(memory.total)
            yield "nv_gpu_memory_used_bytes", "Memory in use", labels, float(memory.used)
