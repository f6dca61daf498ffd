"""What each execution provider of ONNX Runtime takes, as far as candidates ask. A table, no code.

`None` in a cell means that the way is open; a text is the reason why it is closed, in the words
that the user reads. A provider that is not listed gets `UNKNOWN`: of what nobody looked up, nothing
is tried.

Sources: docs/OperatorKernels.md of ONNX Runtime (kernels and their types); ORT issues 12229, 14439
and 24807 (INT8 falls from CUDA to the CPU), 19502, 25740 and 28768 (BF16 kernels); TensorRT 11's
strong typing and explicit quantization, and the QNN provider's demand for quantized models of fixed
shapes (their documentation); speeds on CPUs were measured (docs/optimizer.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
TENSORRT_RTX = "NvTensorRTRTXExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
QNN = "QNNExecutionProvider"


class Quantized(StrEnum):
    """The form in which a provider takes 8-bit static quantization."""

    ASYMMETRIC = "U8S8"
    SYMMETRIC = "S8S8"


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider takes. `static_form` says how, where `static_int8` is open."""

    fusions: str | None
    half: str | None
    bf16: str | None
    stored_half: str | None
    dynamic_int8: str | None
    static_int8: str | None
    block_weights: str | None
    static_form: Quantized = Quantized.ASYMMETRIC
    fixed_shapes: bool = False


_OWN_FUSIONS = "it makes its own fusions when the session starts"
_NO_DYNAMIC = "ONNX Runtime has dynamic quantization kernels for the CPU provider only"
_IN_GRAPH = "weights stored in FP16 gain nothing where FP16 itself is computed"
_NOT_LOOKED_UP = "nobody has looked up whether this provider takes it, so it is not tried"

UNKNOWN = Provider(
    fusions=_NOT_LOOKED_UP,
    half=_NOT_LOOKED_UP,
    bf16=_NOT_LOOKED_UP,
    stored_half=_NOT_LOOKED_UP,
    dynamic_int8=_NOT_LOOKED_UP,
    static_int8=_NOT_LOOKED_UP,
    block_weights=_NOT_LOOKED_UP,
)

PROVIDERS: dict[str, Provider] = {
    CPU: Provider(
        fusions=None,
        half=(
            "the CPU provider computes FP16 by casting to FP32 and back, which is slower and hides"
            " overflow; weights are stored in FP16 instead"
        ),
        bf16="the CPU provider has no BF16 arithmetic and cannot load such a model",
        stored_half=None,
        dynamic_int8=None,
        static_int8=None,
        block_weights=None,
    ),
    CUDA: Provider(
        fusions=None,
        half=None,
        bf16=None,
        stored_half=_IN_GRAPH,
        dynamic_int8=_NO_DYNAMIC,
        static_int8=(
            "the CUDA execution provider has no kernels for quantized operators and would hand them"
            " to the CPU, up to ten times slower; INT8 on NVIDIA needs TensorRT"
        ),
        block_weights=None,
    ),
    TENSORRT: Provider(
        fusions=_OWN_FUSIONS,
        half=None,
        bf16=None,
        stored_half=_IN_GRAPH,
        dynamic_int8=_NO_DYNAMIC,
        static_int8=None,
        block_weights="TensorRT takes no operator of the domain com.microsoft",
        static_form=Quantized.SYMMETRIC,
        fixed_shapes=True,
    ),
    OPENVINO: Provider(
        fusions=_OWN_FUSIONS,
        half=_NOT_LOOKED_UP,
        bf16=_NOT_LOOKED_UP,
        stored_half=_NOT_LOOKED_UP,
        dynamic_int8=_NO_DYNAMIC,
        static_int8=_NOT_LOOKED_UP,
        block_weights=_NOT_LOOKED_UP,
    ),
    QNN: Provider(
        fusions=_OWN_FUSIONS,
        half="the profile's NPU takes quantized models",
        bf16="the profile's NPU takes quantized models",
        stored_half="the profile's NPU takes quantized models",
        dynamic_int8="the NPU wants fixed ranges: static quantization",
        static_int8=None,
        block_weights=_NOT_LOOKED_UP,
        fixed_shapes=True,
    ),
}
PROVIDERS[TENSORRT_RTX] = PROVIDERS[TENSORRT]


def provider(name: str) -> Provider:
    """The row of an execution provider; `UNKNOWN` where there is none."""
    return PROVIDERS.get(name, UNKNOWN)
