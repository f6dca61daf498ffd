"""An ONNX Runtime session that is what was declared, or none at all.

ONNX Runtime falls back to the CPU with a mere warning when an accelerator cannot be used, so the
execution provider is compared three times: offered by this build, forced by
`session.disable_cpu_ep_fallback`, and asked of the session once it stands. Its inputs and outputs
must be exactly the declared ones.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import libraries, memory
from .configuration import ModelSettings
from .cuda_graphs import OPTION, CudaGraphs, without_graph
from .datatypes import BF16, BY_ONNX, Array, TensorSpec
from .errors import ExitCode, Refusal, RequestError
from .silence import onnxruntime

_CPU = "CPUExecutionProvider"
_FATAL = 4  # ORT_LOGGING_LEVEL_FATAL
# An input of so few bytes is nobody's fault: the session fails, and gets another try as a new one.
_SMALL = 1 << 14
_TOO_MUCH = "this takes more memory than the server has; send less at a time"
_ONNX_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


class Session:
    """A loaded model, never changed. `run` may be called from several threads at once."""

    __slots__ = ("_gives_back", "_has_bf16", "_native", "execution_provider", "graphs", "settings")

    def __init__(
        self,
        settings: ModelSettings,
        execution_provider: str,
        native: Any,
        has_bf16: bool,
        graphs: CudaGraphs | None = None,
    ) -> None:
        self.settings = settings
        self.execution_provider = execution_provider
        self.graphs = graphs
        self._native = native
        self._has_bf16 = has_bf16
        self._gives_back = False

    @property
    def on_cpu(self) -> bool:
        return self.execution_provider == _CPU

    def give_back(self) -> None:
        """After the next inference, the memory that inferences took goes back to the machine."""
        self._gives_back = self.on_cpu

    @property
    def sizes(self) -> tuple[int, ...]:
        """The only numbers of rows that are run; empty where any number is."""
        return (self.graphs.sizes if self.graphs else ()) or self.settings.batching.fill_up

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """One inference; BF16 tensors are the uint16 of their bits.

        Raises RequestError: 400 when ONNX Runtime finds the inputs at fault, 413 when so many take
        more memory than there is, else 500.
        """
        names, options = list(outputs), None
        if self._gives_back:
            self._gives_back, options = False, _giving_back()
        try:
            if self._has_bf16:
                values = self._native.run_with_ort_values(names, self._ort_values(inputs), options)
                return {name: _array(value) for name, value in zip(names, values, strict=True)}
            if self.graphs:
                return self.graphs.run(inputs, names) or self._ungraphed(inputs, names)
            return dict(zip(names, self._native.run(names, dict(inputs), options), strict=True))
        except Exception as error:
            if _is_invalid_argument(error):
                raise RequestError(400, f"the model refuses the input: {_told(error)}") from error
            if memory.failed_for_want_of_it(error):
                self._gives_back = self.on_cpu
                if sum(array.nbytes for array in inputs.values()) > _SMALL:
                    raise RequestError(413, _TOO_MUCH) from error
            raise RequestError(500, f"inference failed: {_told(error)}") from error

    def _ungraphed(self, inputs: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
        values = self._native.run(names, dict(inputs), without_graph())
        return dict(zip(names, values, strict=True))

    def _ort_values(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        make = onnxruntime.OrtValue
        return {
            spec.name: make.ortvalue_from_numpy_with_onnx_type(
                np.array(inputs[spec.name]), _ONNX_BFLOAT16
            )
            if spec.datatype is BF16
            else make.ortvalue_from_numpy(inputs[spec.name])
            for spec in self.settings.inputs
        }


def open_session(folder: str, settings: ModelSettings, graph: bytes) -> Session:
    """Make a session from the graph's verified bytes; external data is looked up beside it.

    Raises Refusal: the provider is not offered or not used, the model cannot be loaded, or its
    signature is not the declared one.
    """
    _require_offered(settings)
    libraries.require(settings)
    native = _construct(folder, settings, graph)
    used = native.get_providers()
    if not used or used[0] != settings.execution_provider:
        raise Refusal(
            ExitCode.UNAVAILABLE,
            f"{settings}: declared for {settings.execution_provider},"
            f" but the session runs on {', '.join(used) or 'nothing'}",
        )
    _compare(settings, "inputs", settings.inputs, native.get_inputs())
    _compare(settings, "outputs", settings.outputs, native.get_outputs())
    tensors = settings.inputs + settings.outputs
    has_bf16 = any(spec.datatype is BF16 for spec in tensors)
    graphs = CudaGraphs(native, settings) if settings.batching.cuda_graphs else None
    return Session(settings, used[0], native, has_bf16, graphs)


def _giving_back() -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _require_offered(settings: ModelSettings) -> None:
    offered = onnxruntime.get_available_providers()
    if settings.execution_provider not in offered:
        raise Refusal(
            ExitCode.UNAVAILABLE,
            f"{settings}: {settings.execution_provider} is not offered by onnxruntime"
            f" {onnxruntime.__version__} here, which offers {', '.join(offered)}",
        )


def _construct(folder: str, settings: ModelSettings, graph: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = settings.intra_op_threads
    beside = os.path.dirname(os.path.join(folder, settings.path))
    options.add_session_config_entry(_EXTERNAL_FOLDER, beside)
    if settings.execution_provider != _CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    more = OPTION if settings.batching.cuda_graphs else {}
    provider = (settings.execution_provider, {**settings.provider_options, **more})
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[provider])
    except Exception as error:
        # On an accelerator the usual reason is the machine, on the CPU it is the model.
        code = ExitCode.DATA if settings.execution_provider == _CPU else ExitCode.UNAVAILABLE
        raise Refusal(
            code, f"{settings}: no session on {settings.execution_provider}: {_told(error)}"
        ) from error
    # It keeps the graph for a fallback to other providers, which we never want: half the memory.
    session._model_bytes = None
    return session


def _compare(
    settings: ModelSettings, what: str, declared: tuple[TensorSpec, ...], nodes: Sequence[Any]
) -> None:
    found = [_spec(settings, node) for node in nodes]
    same = found == list(declared)
    # ONNX Runtime works out sizes of outputs that the graph leaves free; that is no other model.
    narrowed = what == "outputs" and len(found) == len(declared)
    if not same and not (narrowed and all(map(_narrows, found, declared))):
        raise Refusal(
            ExitCode.DATA,
            f"{settings}: {what} of the model are {', '.join(map(str, found))};"
            f" declared were {', '.join(map(str, declared))}",
        )


def _narrows(found: TensorSpec, declared: TensorSpec) -> bool:
    return (
        (found.name, found.datatype) == (declared.name, declared.datatype)
        and len(found.shape) == len(declared.shape)
        and all(size in (-1, got) for got, size in zip(found.shape, declared.shape, strict=True))
    )


def _spec(settings: ModelSettings, node: Any) -> TensorSpec:
    datatype = BY_ONNX.get(node.type)
    if datatype is None:
        raise Refusal(
            ExitCode.DATA, f"{settings}: the protocol cannot carry {node.name}, a {node.type}"
        )
    # A free dimension is a name or None to ONNX Runtime, and -1 to the protocol.
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
    return TensorSpec(node.name, datatype, shape)


def _array(value: Any) -> Array:
    """The array of an OrtValue; numpy knows no bfloat16, so that one is copied bit by bit."""
    if value.element_type() != _ONNX_BFLOAT16:
        array: Array = value.numpy()
        return array
    shape = tuple(value.shape())
    raw = ctypes.string_at(value.data_ptr(), int(np.prod(shape)) * BF16.itemsize)
    return np.frombuffer(raw, BF16.dtype).reshape(shape)


def _is_invalid_argument(error: Exception) -> bool:
    # ONNX Runtime's exception classes come from its native module and share no base class.
    return type(error).__name__ == "InvalidArgument" or "INVALID_ARGUMENT" in str(error)[:64]


def _told(error: Exception) -> str:
    """The first 300 characters of ONNX Runtime's message, on one line, without its own prefix."""
    text = " ".join(str(error).split())
    return text.removeprefix("[ONNXRuntimeError] : ")[:300] or type(error).__name__
