"""Which wheel brings an execution provider, for which machines, and from which floors on.

Facts of the wheels on the public Python index (read 2026-11-23 and -24), as values that a policy
may ask before anything is downloaded; what is packaged is checked again against the bytes of the
wheels. A wheel that is not listed is not refused: a user may bring wheels of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from packager.domain.hardware import HardwareProfile, Wheel

GLIBC = (2, 41)  # of Debian 13, on which images stand

_OTHER_HARDWARE = (
    "serve it from the machine's CPU with x86-64-v3 or arm64-v8, or write a profile that extends"
    " this one and names a wheel of your own"
)
_BOTH = frozenset({"amd64", "arm64"})
_AMD64 = frozenset({"amd64"})
_FIRST_CUDA_13 = (1, 27)
_FIRST_WITH_OPTIONAL_CUDNN = (1, 28)
_FIRST_GPU_ON_ARM64 = (1, 29)
_FIRST_WITH_TELEMETRY = (1, 29)
# What ONNX Runtime GenAI 0.18 asks for, and the newest that are published (2026-11-27).
_FIRST_FOR_GENAI = (1, 31)
_FOR_GENAI = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}
# First driver of a CUDA major version (NVIDIA, "CUDA Compatibility", minor version compatibility).
_DRIVER_FLOOR = {12: 525, 13: 580}


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason why a profile's wheel cannot serve it, and what would."""

    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Provider:
    """What brings an execution provider on Linux: names of wheels, and what the site must have."""

    wheels: tuple[str, ...]
    missing: str = ""


# `missing`: why there is no wheel, or what the wheel leaves to the machine.
_PROVIDERS = {
    "CPUExecutionProvider": _Provider(("onnxruntime",)),
    "CUDAExecutionProvider": _Provider(("onnxruntime-gpu",)),
    "TensorrtExecutionProvider": _Provider(
        (), "its wheel needs TensorRT, which is not put into images; CUDAExecutionProvider runs"
    ),
    "OpenVINOExecutionProvider": _Provider(("onnxruntime-openvino",)),
    "MIGraphXExecutionProvider": _Provider(("onnxruntime-migraphx",)),
    "CANNExecutionProvider": _Provider(("onnxruntime-cann",)),
    "QNNExecutionProvider": _Provider(("onnxruntime-qnn",)),
    "WebGpuExecutionProvider": _Provider(("onnxruntime-ep-webgpu",)),
    "VitisAIExecutionProvider": _Provider((), "AMD ships it in its own SDK, not as a public wheel"),
    "QAicExecutionProvider": _Provider((), "Qualcomm ships it in its own SDK only"),
    "HailoExecutionProvider": _Provider((), "it stands in Hailo's fork of ONNX Runtime only"),
    "CoreMLExecutionProvider": _Provider((), "it runs on macOS, and images are Linux"),
    "none": _Provider((), "ONNX Runtime has no execution provider for this device"),
}
_ARCHITECTURES = {
    "onnxruntime": _BOTH,
    "onnxruntime-openvino": _AMD64,
    "onnxruntime-migraphx": _AMD64,
    "onnxruntime-cann": _BOTH,
    "onnxruntime-qnn": frozenset({"arm64"}),
    "onnxruntime-ep-webgpu": _BOTH,
}


def wheel_architectures(wheel: Wheel) -> frozenset[str] | None:
    """The architectures that a wheel is built for on Linux, None when it is not known."""
    if wheel.name == "onnxruntime-gpu":
        return _BOTH if release_of(wheel) >= _FIRST_GPU_ON_ARM64 else _AMD64
    return _ARCHITECTURES.get(wheel.name)


def cuda_major(wheel: Wheel) -> int | None:
    """12 or 13 for `onnxruntime-gpu`, None for a wheel that is not built for CUDA."""
    if wheel.name != "onnxruntime-gpu":
        return None
    return 13 if release_of(wheel) >= _FIRST_CUDA_13 else 12


def cudnn_is_optional(wheel: Wheel) -> bool:
    """Whether the CUDA provider runs without cuDNN and cuFFT where no operator asks for them.

    From 1.28 on (microsoft/onnxruntime #29252 and #29808); before, it links both.
    """
    return cuda_major(wheel) is not None and release_of(wheel) >= _FIRST_WITH_OPTIONAL_CUDNN


def driver_needed(wheel: Wheel) -> int | None:
    """The oldest NVIDIA driver (major version) that the wheel's CUDA runs on."""
    major = cuda_major(wheel)
    return None if major is None else _DRIVER_FLOOR[major]


def phones_home(wheel: Wheel) -> bool:
    """Whether the wheel is known to contain ONNX Runtime's telemetry end point (docs/adr/0003)."""
    known = wheel.name in ("onnxruntime", "onnxruntime-gpu")
    return known and release_of(wheel) >= _FIRST_WITH_TELEMETRY


def for_genai(hardware: HardwareProfile) -> HardwareProfile:
    """The profile with a wheel that ONNX Runtime GenAI runs with, its own one where that is new
    enough."""
    version = _FOR_GENAI.get(hardware.wheel.name)
    if version is None or release_of(hardware.wheel) >= _FIRST_FOR_GENAI:
        return hardware
    return replace(hardware, wheel=Wheel(hardware.wheel.name, version))


def release_of(wheel: Wheel) -> tuple[int, int]:
    """Major and minor version; a part that is no number counts as 0."""
    parts = [*wheel.version.split("+")[0].split("."), "", ""]
    major, minor = (int(part) if part.isdecimal() else 0 for part in parts[:2])
    return major, minor


def objections(hardware: HardwareProfile) -> tuple[Objection, ...]:
    """Every reason why the profile's wheel cannot bring its provider, empty when none is known."""
    if hardware.unpackaged:
        return (Objection(hardware.unpackaged, _OTHER_HARDWARE),)
    found = (check(hardware) for check in _CHECKS)
    return tuple(objection for objection in found if objection)


def _provider(hardware: HardwareProfile) -> Objection | None:
    name = hardware.execution_provider
    known = _PROVIDERS.get(name)
    if known is None:
        return Objection(
            f"{name} is no execution provider that is known here",
            f"one of: {', '.join(sorted(set(_PROVIDERS) - {'none'}))}",
        )
    if not known.wheels:
        return Objection(
            f"{name} has no wheel: {known.missing}",
            "choose another execution provider in the hardware profile",
        )
    if hardware.wheel.name in _ARCHITECTURES or cuda_major(hardware.wheel):
        brings = hardware.wheel.name in known.wheels
    else:
        brings = True  # a wheel of the user's own, which may bring anything
    if brings:
        return None
    return Objection(
        f"{hardware.wheel.name} does not bring {name}",
        f"name {' or '.join(known.wheels)} as the profile's wheel",
    )


def _architecture(hardware: HardwareProfile) -> Objection | None:
    wheel, built_for = hardware.wheel, wheel_architectures(hardware.wheel)
    if built_for is None or hardware.platform.architecture in built_for:
        return None
    return Objection(
        f"{wheel.name} {wheel.version} is not built for {hardware.platform}",
        f"built for {', '.join(sorted(built_for))}; choose another wheel in the profile",
    )


def _driver(hardware: HardwareProfile) -> Objection | None:
    needed = driver_needed(hardware.wheel)
    floor = hardware.accelerator.driver_floor if hardware.accelerator else None
    major = (floor or "").partition(".")[0]
    if needed is None or not major.isdecimal() or int(major) >= needed:
        return None
    wheel = hardware.wheel
    return Objection(
        f"{wheel.name} {wheel.version} is built for CUDA {cuda_major(wheel)}, which needs driver"
        f" {needed}; the profile promises {floor}",
        "choose onnxruntime-gpu 1.26.0 (CUDA 12, driver 525), or raise driver_floor in the profile",
    )


def _cuda(hardware: HardwareProfile) -> Objection | None:
    built, named = cuda_major(hardware.wheel), hardware.accelerator and hardware.accelerator.cuda
    if built is None or not named or named.partition(".")[0] == str(built):
        return None
    return Objection(
        f"{hardware.wheel.name} {hardware.wheel.version} is built for CUDA {built}; the profile"
        f" says CUDA {named}",
        f'say cuda: "{built}" in the profile, or choose a wheel that is built for CUDA {named}',
    )


_CHECKS: tuple[Callable[[HardwareProfile], Objection | None], ...] = (
    _provider,
    _architecture,
    _driver,
    _cuda,
)
