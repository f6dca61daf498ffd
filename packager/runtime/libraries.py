"""The shared libraries and the GPU that a model needs, looked for before ONNX Runtime is asked.

ONNX Runtime answers a missing library with a fall-back to the CPU, or, where that is forbidden,
with a message about the fall-back: neither names what is missing. So each declared library is
opened first, and the driver asked for its version and its GPUs (CUDA driver API: `cuInit`,
`cuDriverGetVersion`, `cuDeviceGetCount`).
"""

from __future__ import annotations

import ctypes
import re

from .configuration import ModelSettings
from .errors import ExitCode, Refusal

CUDA_DRIVER = "libcuda.so.1"
_DRIVERS_OWN = ("libcuda.so", "libnvidia-")
_DRIVER = "of the GPU's driver, which the container engine brings in: is the GPU given to it?"
_CUDA_RUN_TIME = re.compile(r"libcudart\.so\.(\d+)")


def require(settings: ModelSettings) -> None:
    """Open every declared library; raises Refusal with all that is missing here, and why."""
    missing = [told for name in settings.libraries if (told := _objection(name))]
    if not missing and CUDA_DRIVER in settings.libraries:
        missing = _driver_objections(ctypes.CDLL(CUDA_DRIVER), settings.libraries)
    if missing:
        raise Refusal(
            ExitCode.UNAVAILABLE,
            f"{settings}: {settings.execution_provider} lacks here: {'; '.join(missing)}",
        )


def _objection(name: str) -> str | None:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        # The linker names the file itself, or one that the file links, and says what is wrong.
        origin = f" ({_DRIVER})" if name.startswith(_DRIVERS_OWN) else ""
        return f"{name}{origin}: {str(error).removeprefix(f'{name}: ')[:200]}"
    return None


def _driver_objections(driver: ctypes.CDLL, libraries: tuple[str, ...]) -> list[str]:
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(version))
    major = version.value // 1000
    built = max(
        (int(found[1]) for name in libraries if (found := _CUDA_RUN_TIME.match(name))), default=0
    )
    if major < built:
        return [f"a driver for CUDA {built}: this machine's is for CUDA {major}"]
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return [f"a GPU: the driver shows none to this process (its status is {status})"]
    return []
