"""The rule table: which ways of running a model are worth trying, and which are not lawful here.

Each rule looks at the model's anatomy and at the hardware profile and gives a `Recipe` to try, or
an `Illegal` row with its reason. No rule promises anything: every recipe is made, gated and
measured afterwards. The rules come from measurements: the same INT8 tooling makes one CNN four
times slower with its default settings and three times faster with unsigned activations, signed
weights and per-channel scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy

CPU = "CPUExecutionProvider"

# x86 instruction sets whose 8-bit dot product does not saturate in 16 bits.
_EXACT_DOT_PRODUCT = frozenset(("avx512_vnni", "avx_vnni", "vnni", "amx_int8"))


@dataclass(frozen=True, slots=True)
class Pass:
    """One transformation with its parameters, as the worker runs it and as evidence tells it."""

    name: str
    parameters: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={_word(value)}" for key, value in self.parameters)
        return f"{self.name}({inside})"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate to make. `lossless`: its outputs differ by rounding alone."""

    name: str
    precision: Precision
    lossless: bool
    passes: tuple[Pass, ...] = ()
    needs_calibration: bool = False


@dataclass(frozen=True, slots=True)
class Illegal:
    """A candidate that must not be made for this hardware, and why."""

    name: str
    precision: Precision
    reason: str


Rule = Callable[[Anatomy, HardwareProfile], "Recipe | Illegal | None"]

SOURCE = "source"


def candidates(anatomy: Anatomy, hardware: HardwareProfile) -> tuple[Recipe | Illegal, ...]:
    """All rows for a model on a profile; the first is the source as it is."""
    rows = (rule(anatomy, hardware) for rule in RULES)
    return tuple(row for row in rows if row is not None)


def source(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe:  # noqa: ARG001 - one shape for all rules
    """The model as it came. Everything else is measured against it."""
    return Recipe(SOURCE, anatomy.precision, lossless=True)


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
    )


def int8_dynamic(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Weights in 8 bits, activations quantized while running: keeps the accuracy of transformers.

    Convolutions are left alone: their dynamic form is far slower than the float one.
    """
    operators = tuple(name for name in ("Gemm", "MatMul") if name in anatomy.operators)
    if not operators or anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return None
    if reason := _int8_refusal(hardware):
        return Illegal("int8-dynamic", Precision.INT8, reason)
    parameters = (
        ("operators", operators),
        ("weights", "S8"),
        ("per_channel", True),
        ("reduce_range", _must_reduce_range(hardware)),
    )
    return Recipe("int8-dynamic", Precision.INT8, False, (Pass("quantize_dynamic", parameters),))


def int8_static_convolution(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Only the convolutions in 8 bits: most of the gain where they dominate, least of the loss."""
    return _int8_static("int8-static-conv", ("Conv",), anatomy, hardware)


def int8_static(anatomy: Anatomy, hardware: HardwareProfile) -> Recipe | Illegal | None:
    """Convolutions and matrix products in 8 bits, for models that have convolutions at all."""
    operators = tuple(name for name in ("Conv", "Gemm", "MatMul") if name in anatomy.operators)
    if operators == ("Conv",):
        return None  # the same as the rule above
    return _int8_static("int8-static", operators, anatomy, hardware)


RULES: tuple[Rule, ...] = (
    source,
    graph_optimization,
    int8_dynamic,
    int8_static_convolution,
    int8_static,
)


def _int8_static(
    name: str, operators: tuple[str, ...], anatomy: Anatomy, hardware: HardwareProfile
) -> Recipe | Illegal | None:
    if "Conv" not in anatomy.operators:
        return None  # static ranges cost transformers accuracy that dynamic ones keep
    if anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return None
    if reason := _int8_refusal(hardware):
        return Illegal(name, Precision.INT8, reason)
    parameters = (
        ("format", "QDQ"),
        ("operators", operators),
        ("activations", "U8"),
        ("weights", "S8"),
        ("per_channel", True),
        ("reduce_range", _must_reduce_range(hardware)),
        ("calibration", "minmax"),
    )
    return Recipe(
        name, Precision.INT8, False, (Pass("quantize_static", parameters),), needs_calibration=True
    )


def _int8_refusal(hardware: HardwareProfile) -> str | None:
    """Why 8-bit integers must not be tried on this hardware; None when they may."""
    provider = hardware.execution_provider
    if Precision.INT8 not in hardware.precisions:
        return f"the profile {hardware.id} lists no int8"
    if provider == "CUDAExecutionProvider":
        return (
            "the CUDA execution provider has no kernels for quantized operators and would hand them"
            " to the CPU, up to ten times slower; INT8 on NVIDIA needs TensorRT"
        )
    if provider != CPU:
        return f"{provider} wants symmetric 8-bit activations; these recipes make unsigned ones"
    return None


def _must_reduce_range(hardware: HardwareProfile) -> bool:
    """Whether weights must keep to 7 bits.

    Without VNNI, x86 adds two products of 8-bit numbers in 16 bits and saturates: a wrong answer on
    the target that a newer build machine never shows. ARM widens first.
    """
    return hardware.platform.architecture == "amd64" and not (
        _EXACT_DOT_PRODUCT & {name.lower() for name in hardware.instructions}
    )


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
