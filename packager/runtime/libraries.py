"""The shared libraries that a model needs on an accelerator, opened before ONNX Runtime is asked.

ONNX Runtime answers a missing library with a fall-back to the CPU, or, where that is forbidden,
with a message about the fall-back: neither names the library. So each declared one is opened first.
"""

from __future__ import annotations

import ctypes

from .configuration import ModelSettings
from .errors import ExitCode, Refusal

_DRIVERS_OWN = ("libcuda.so", "libnvidia-")
_DRIVER = "of the GPU's driver, which the container engine brings in: is the GPU given to it?"


def require(settings: ModelSettings) -> None:
    """Open every declared library; raises Refusal with all that cannot be, and why."""
    missing = [told for name in settings.libraries if (told := _objection(name))]
    if missing:
        raise Refusal(
            ExitCode.UNAVAILABLE,
            f"{settings}: {settings.execution_provider} lacks {len(missing)} of its libraries"
            f" here: {'; '.join(missing)}",
        )


def _objection(name: str) -> str | None:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        # The linker names the file itself, or one that the file links, and says what is wrong.
        origin = f" ({_DRIVER})" if name.startswith(_DRIVERS_OWN) else ""
        return f"{name}{origin}: {str(error)[:200]}"
    return None
