"""Rules for candidates in 8 and 4 bits: ranges taken while running, ranges from calibration,
weights in blocks."""

from __future__ import annotations

from collections.abc import Iterable

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.legality import CPU, CUDA, Provider, Quantized, provider
from packager.optimize.preparing import DOMINATES, converted, folded, unlisted
from packager.optimize.recipes import Illegal, Pass, Recipe

# x86 instruction sets whose 8-bit dot product does not saturate in 16 bits.
_EXACT_DOT_PRODUCT = frozenset(("avx512_vnni", "avx_vnni", "vnni", "amx_int8"))
_BLOCK = 32

# Operators that ONNX Runtime has 8-bit kernels for, or that move values without changing them.
_BETWEEN = (
    *("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul"),
    *("Relu", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)


def int8_dynamic(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Weights in 8 bits, activations quantized while running: keeps the accuracy of transformers.

    Convolutions are left alone: their dynamic form is far slower than the float one.
    """
    return _int8_dynamic("int8-dynamic", ("Gemm", "MatMul"), anatomy, hardware)


def int8_dynamic_embedding(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """The tables of embeddings as well, where they are a large part of the file."""
    if anatomy.embedding_share < DOMINATES:
        return None
    return _int8_dynamic("int8-dynamic-embedding", ("Gather", "Gemm", "MatMul"), anatomy, hardware)


def int8_static_convolution(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Only the convolutions in 8 bits: most of the gain where they dominate, least of the loss."""
    return _int8_static("int8-static-conv", ("Conv",), anatomy, hardware)


def int8_static(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Convolutions and matrix products in 8 bits, for models that have convolutions at all."""
    operators = tuple(name for name in ("Conv", "Gemm", "MatMul") if name in anatomy.operators)
    if operators == ("Conv",):
        return None  # the same as the rule above
    return _int8_static("int8-static", operators, anatomy, hardware)


def int8_static_whole(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """What stands between the convolutions as well, so that values stay in 8 bits from one to the
    next: faster where many small operators lie between them, with some more loss."""
    own = provider(hardware.execution_provider)
    if own.static_int8 or own.static_form is Quantized.SYMMETRIC:
        return None  # the row above says why; and TensorRT fuses around convolutions by itself
    between = [name for name in _BETWEEN if name in anatomy.operators]
    if not between or "Conv" not in anatomy.operators:
        return None
    heavy = [name for name in ("Conv", "Gemm", "MatMul") if name in anatomy.operators]
    return _int8_static("int8-static-whole", (*heavy, *between), anatomy, hardware)


def int8_blocks(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Weights of matrix products in 8 bits with a scale for each block, activations in float."""
    return _blocks("int8-blocks", 8, Precision.INT8, anatomy, hardware)


def int4_blocks(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """The same in 4 bits: for models whose weights dominate."""
    return _blocks("int4-blocks", 4, Precision.INT4, anatomy, hardware)


def _int8_dynamic(
    name: str, wanted: Iterable[str], anatomy: Anatomy, hardware: HardwareProfile
) -> Recipe | Illegal | None:
    operators = tuple(one for one in wanted if one in anatomy.operators)
    matrices = {"Gemm", "MatMul"} & set(operators)
    if not matrices or anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return None
    if reason := provider(hardware.execution_provider).dynamic_int8 or unlisted(
        Precision.INT8, hardware
    ):
        return Illegal(name, Precision.INT8, reason)
    parameters = (
        ("operators", operators),
        ("weights", "S8"),
        ("per_channel", True),
        ("reduce_range", _must_reduce_range(hardware)),
    )
    return Recipe(
        name,
        Precision.INT8,
        False,
        (*converted(anatomy), *folded(anatomy), Pass("quantize_dynamic", parameters)),
        why=f"dynamic ranges keep the accuracy of transformers{_range_told(hardware)}",
    )


def _int8_static(
    name: str, operators: tuple[str, ...], anatomy: Anatomy, hardware: HardwareProfile
) -> Recipe | Illegal | None:
    own = provider(hardware.execution_provider)
    if "Conv" not in anatomy.operators and hardware.execution_provider == CPU:
        return None  # static ranges cost transformers accuracy that dynamic ones keep
    if not operators or ("Conv" not in anatomy.operators and name == "int8-static-conv"):
        return None
    if anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return None
    if reason := own.static_int8 or unlisted(Precision.INT8, hardware):
        return Illegal(name, Precision.INT8, reason)
    symmetric = own.static_form is Quantized.SYMMETRIC
    parameters = (
        ("format", "QDQ"),
        ("operators", operators),
        ("activations", "S8" if symmetric else "U8"),
        ("weights", "S8"),
        ("per_channel", True),
        ("reduce_range", _must_reduce_range(hardware)),
        ("calibration", "minmax"),
    )
    before = (*converted(anatomy), *folded(anatomy), *_fixed(anatomy, own))
    passes = (*before, Pass("quantize_static", parameters))
    return Recipe(
        name,
        Precision.INT8,
        False,
        passes,
        needs_calibration=True,
        why=_static_told(hardware, symmetric=symmetric),
    )


def _blocks(
    name: str, bits: int, precision: Precision, anatomy: Anatomy, hardware: HardwareProfile
) -> Recipe | Illegal | None:
    if anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return None
    if anatomy.matrix_share < DOMINATES:
        return None
    if reason := provider(hardware.execution_provider).block_weights:
        return Illegal(name, precision, reason)
    if hardware.execution_provider == CUDA and bits == 8:
        return Illegal(name, precision, "FP16 is smaller than half of FP32 by as much and faster")
    parameters = (("bits", bits), ("block", _BLOCK), ("symmetric", True), ("accuracy_level", 4))
    return Recipe(
        name,
        precision,
        False,
        (*folded(anatomy), Pass("block_weights", parameters)),
        why=f"matrix products hold {anatomy.matrix_share:.0%} of the weights; the rest stays FP32",
    )


def _fixed(anatomy: Anatomy, own: Provider) -> tuple[Pass, ...]:
    if not own.fixed_shapes or not anatomy.free_dimensions:
        return ()
    return (Pass("fix_shapes", (("sizes", "those of the samples"),)),)


def _must_reduce_range(hardware: HardwareProfile) -> bool:
    """Whether weights must keep to 7 bits.

    Without VNNI, x86 adds two products of 8-bit numbers in 16 bits and saturates: a wrong answer on
    the target that a newer build machine never shows. ARM widens first, accelerators add in 32 bit.
    """
    if hardware.execution_provider != CPU:
        return False
    return hardware.platform.architecture == "amd64" and not (
        _EXACT_DOT_PRODUCT & {name.lower() for name in hardware.instructions}
    )


def _range_told(hardware: HardwareProfile) -> str:
    if not _must_reduce_range(hardware):
        return ""
    return "; weights keep to 7 bits, since the profile promises no VNNI"


def _static_told(hardware: HardwareProfile, *, symmetric: bool) -> str:
    if symmetric:
        return "explicit symmetric QDQ, the only form of INT8 that TensorRT takes"
    return (
        f"unsigned activations, signed weights per channel: the fast kernels{_range_told(hardware)}"
    )
