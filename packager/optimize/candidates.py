"""The rule table: which ways of running a model are worth trying, and which are not lawful here.

Each rule looks at the model's anatomy and at the hardware profile and gives a `Recipe` to try, or
an `Illegal` row with its reason, or nothing where the model has nothing to apply it to. What a
provider takes stands in `legality`. No rule promises anything: every recipe is made, gated and
measured afterwards. The rules come from measurements: the same INT8 tooling makes one CNN four
times slower with its default settings and three times faster with unsigned activations, signed
weights and per-channel scales.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.legality import CPU, CUDA, Provider, Quantized, provider
from packager.optimize.recipes import SOURCE, Illegal, Pass, Recipe

Rule = Callable[[Anatomy, HardwareProfile], Recipe | Illegal | None]

# x86 instruction sets whose 8-bit dot product does not saturate in 16 bits.
_EXACT_DOT_PRODUCT = frozenset(("avx512_vnni", "avx_vnni", "vnni", "amx_int8"))

DOMINATES = 0.3
"""From this share of the weights' bytes on, what holds them is worth a rule of its own."""

# Opsets: per-channel QDQ is defined from 13 on; 17 has LayerNormalization, and axes as ONNX
# Runtime's quantizers expect them. BF16 is defined for the operators of transformers from 17 on.
_OPSET_FOR_QUANTIZERS = 13
_OPSET_AFTER_CONVERSION = 17
_BLOCK = 32

# Operators that ONNX Runtime has 8-bit kernels for, or that move values without changing them.
_BETWEEN = (
    *("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul"),
    *("Relu", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)


def candidates(anatomy: Anatomy, hardware: HardwareProfile) -> tuple[Recipe | Illegal, ...]:
    """All rows for a model on a profile; the first is the source as it is."""
    rows = (rule(anatomy, hardware) for rule in RULES)
    return tuple(row for row in rows if row is not None)


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
            *_folded(anatomy),
            Pass("store_half", (("block_list", "weights beyond the range of FP16"),)),
        ),
        why="half the size; ONNX Runtime makes FP32 of it when the session starts",
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


RULES: tuple[Rule, ...] = (
    source,
    graph_optimization,
    transformer_fusions,
    half,
    half_fused,
    bfloat,
    stored_half,
    int8_dynamic,
    int8_dynamic_embedding,
    int8_static_convolution,
    int8_static,
    int8_static_whole,
    int8_blocks,
    int4_blocks,
)


def _half(
    precision: Precision, anatomy: Anatomy, hardware: HardwareProfile, reason: str | None
) -> Recipe | Illegal | None:
    if anatomy.precision is not Precision.FP32 or anatomy.quantized or not anatomy.weights:
        return None
    name = precision.value
    if reason := reason or _unlisted(precision, hardware):
        return Illegal(name, precision, reason)
    scanned = (
        (("block_list", "range scan in FP32"),)
        if precision is Precision.FP16
        else (("block_list", "operators without a BF16 kernel"),)
    )
    convert = _converted(anatomy, _OPSET_AFTER_CONVERSION) if precision is Precision.BF16 else ()
    return Recipe(
        name,
        precision,
        lossless=False,
        passes=(
            *convert,
            *_folded(anatomy),
            Pass("half_precision", (("format", name), ("inputs_and_outputs", "fp32"), *scanned)),
        ),
        needs_calibration=precision is Precision.FP16,
        emulated=True,
        why=(
            "half the bytes; a CPU would hide overflow, so ranges are scanned in FP32 and quality"
            " is judged with every value rounded to the format"
        ),
    )


def _int8_dynamic(
    name: str, wanted: Iterable[str], anatomy: Anatomy, hardware: HardwareProfile
) -> Recipe | Illegal | None:
    operators = tuple(one for one in wanted if one in anatomy.operators)
    matrices = {"Gemm", "MatMul"} & set(operators)
    if not matrices or anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return None
    if reason := provider(hardware.execution_provider).dynamic_int8 or _unlisted(
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
        (*_converted(anatomy), *_folded(anatomy), Pass("quantize_dynamic", parameters)),
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
    if reason := own.static_int8 or _unlisted(Precision.INT8, hardware):
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
    before = (*_converted(anatomy), *_folded(anatomy), *_fixed(anatomy, own))
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
        (*_folded(anatomy), Pass("block_weights", parameters)),
        why=f"matrix products hold {anatomy.matrix_share:.0%} of the weights; the rest stays FP32",
    )


def _unlisted(precision: Precision, hardware: HardwareProfile) -> str | None:
    """Why a number format must not be tried on this hardware; None when it may."""
    if precision in hardware.precisions:
        return None
    return f"the profile {hardware.id} lists no {precision.value}"


def _fusions() -> tuple[Pass, ...]:
    return (Pass("transformer_fusions", (("model_type", "bert"),)),)


def _converted(anatomy: Anatomy, least: int = _OPSET_FOR_QUANTIZERS) -> tuple[Pass, ...]:
    """The opset raised first: quantizers raise its number without converting the operators."""
    if anatomy.opset >= least:
        return ()
    return (Pass("convert_opset", (("to", _OPSET_AFTER_CONVERSION),)),)


def _folded(anatomy: Anatomy) -> tuple[Pass, ...]:
    """Constants and normalizations of batches folded into weights first, where passes look."""
    return (Pass("graph_optimization", (("level", "basic"),)),) if anatomy.must_fold else ()


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
