"""Rules for candidates that compute in floating point: fusions, FP16 and BF16, smaller storage."""

from __future__ import annotations

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.legality import CPU, provider
from packager.optimize.preparing import (
    DOMINATES,
    OPSET_AFTER_CONVERSION,
    converted,
    folded,
    unlisted,
)
from packager.optimize.recipes import SOURCE, Illegal, Pass, Recipe


def source(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe:  # noqa: ARG001 - one shape for all rules
    """The model as it came. Everything else is measured against it."""
    return Recipe(SOURCE, anatomy.precision, lossless=True, why="what all others are held against")


def graph_optimization(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal:
    """ONNX Runtime's fusions, saved ahead of time at the level that is portable between CPUs."""
    if hardware.execution_provider != CPU:
        return Illegal(
            "graph-extended",
            anatomy.precision,
            f"the fusions made here are for {CPU}; {hardware.execution_provider} makes its own"
            " when the session starts",
        )
    return Recipe(
        "graph-extended",
        anatomy.precision,
        lossless=True,
        passes=(Pass("graph_optimization", (("level", "extended"),)),),
        why="a shorter start; EXTENDED, since ALL would write layouts of the very CPU it runs on",
        keeps_speed="ONNX Runtime makes the same fusions when a session of the source starts",
    )


def transformer_fusions(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Attention and normalization as single operators, with what was fused in the evidence."""
    if not anatomy.is_transformer or anatomy.quantized or anatomy.precision is not Precision.FP32:
        return None
    if reason := provider(hardware.execution_provider).fusions:
        return Illegal("fused", Precision.FP32, reason)
    return Recipe(
        "fused",
        Precision.FP32,
        lossless=True,
        passes=_fusions(),
        why="ONNX Runtime's transformer fusions; a gain is measured, never assumed",
    )


def half(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """FP16 where no value of the calibration leaves its range."""
    return _half(Precision.FP16, anatomy, hardware, provider(hardware.execution_provider).half)


def half_fused(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | None:
    """Both together, where both are lawful."""
    ours = half(anatomy, hardware)
    fused = transformer_fusions(anatomy, hardware)
    if not (isinstance(ours, Recipe) and isinstance(fused, Recipe)):
        return None
    return Recipe(
        "fused-fp16",
        Precision.FP16,
        lossless=False,
        passes=(*fused.passes, *ours.passes),
        needs_calibration=True,
        emulated=True,
        why="FP16 for the fused operators, where tensor cores gain most",
    )


def bfloat(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """BF16: the range of FP32 at half the bytes, with eight bits of significance."""
    reason = provider(hardware.execution_provider).bf16
    if not reason and "Conv" in anatomy.operators and anatomy.convolution_share >= DOMINATES:
        reason = (
            "ONNX defines BF16 convolutions from opset 22 on only, and ONNX Runtime's CUDA provider"
            " has no kernel for them (ORT issue 25740)"
        )
    return _half(Precision.BF16, anatomy, hardware, reason)


def stored_half(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Weights in FP16 in the file, computed in FP32: half the size at the source's speed."""
    if anatomy.precision is not Precision.FP32 or anatomy.quantized or not anatomy.weights:
        return None
    if reason := provider(hardware.execution_provider).stored_half:
        return Illegal("fp16-stored", Precision.FP16, reason)
    return Recipe(
        "fp16-stored",
        Precision.FP16,
        lossless=False,
        passes=(
            *folded(anatomy),
            Pass("store_half", (("block_list", "weights beyond the range of FP16"),)),
        ),
        why="half the size; ONNX Runtime makes FP32 of it when the session starts",
    )


def _half(
    precision: Precision, anatomy: Anatomy, hardware: HardwareProfile, reason: str | None
) -> Recipe | Illegal | None:
    if anatomy.precision is not Precision.FP32 or anatomy.quantized or not anatomy.weights:
        return None
    name = precision.value
    if reason := reason or unlisted(precision, hardware):
        return Illegal(name, precision, reason)
    scanned = (
        (("block_list", "range scan in FP32"),)
        if precision is Precision.FP16
        else (("block_list", "operators without a BF16 kernel"),)
    )
    convert = converted(anatomy, OPSET_AFTER_CONVERSION) if precision is Precision.BF16 else ()
    return Recipe(
        name,
        precision,
        lossless=False,
        passes=(
            *convert,
            *folded(anatomy),
            Pass("half_precision", (("format", name), ("inputs_and_outputs", "fp32"), *scanned)),
        ),
        needs_calibration=precision is Precision.FP16,
        emulated=True,
        why=(
            "half the bytes; a CPU would hide overflow, so ranges are scanned in FP32 and quality"
            " is judged with every value rounded to the format"
        ),
    )


def _fusions() -> tuple[Pass, ...]:
    return (Pass("transformer_fusions", (("model_type", "bert"),)),)
