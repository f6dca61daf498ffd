"""Between the messages of gRPC and the requests and results that the rest of the server speaks.

The rules are those of the protocol: tensors come either all as raw bytes, in the order of the
inputs, or all as typed contents; FP16 and BF16 only raw. Answers are always raw, as Triton's are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..datatypes import BYTES, Array, TensorSpec
from ..errors import RequestError, quoted
from ..models import Model
from ..protocol import (
    InferenceRequest,
    RequestedOutput,
    Schedule,
    as_wanted,
    checked_shape,
    no_such,
    require_same,
)
from ..tensors import bad, from_binary, to_binary
from .messages import message

ModelInferResponse = message("inference.ModelInferResponse")

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_UNSUPPORTED = ("shared_memory_region",)


def request_of(model: Model, given: Any) -> InferenceRequest:
    """Read a ModelInferRequest; raises RequestError (400)."""
    known = {spec.name: spec for spec in model.settings.inputs}
    raw = given.raw_input_contents
    if raw and len(raw) != len(given.inputs):
        raise bad(f"there are {len(given.inputs)} inputs, but {len(raw)} raw contents")
    inputs: dict[str, Array] = {}
    for place, tensor in enumerate(given.inputs):
        spec = known.get(tensor.name)
        if spec is None:
            raise no_such("input", tensor.name, known)
        if tensor.name in inputs:
            raise bad(f"input {quoted(tensor.name)} is given twice")
        if tensor.datatype != spec.datatype.name:
            raise bad(f"input {quoted(spec.name)} must have datatype {spec.datatype.name}")
        _refuse_unsupported(tensor.parameters)
        shape = checked_shape(list(tensor.shape), spec)
        if raw:
            if tensor.HasField("contents"):
                raise bad(f"input {quoted(spec.name)} has contents beside the raw ones")
            inputs[spec.name] = from_binary(spec.name, spec.datatype, shape, memoryview(raw[place]))
        else:
            inputs[spec.name] = _from_contents(spec, shape, tensor.contents)
    if missing := [name for name in known if name not in inputs]:
        raise bad(f"input {quoted(missing[0])} is missing")
    _refuse_unsupported(given.parameters)
    schedule = Schedule(_count(given.parameters, "priority"), _count(given.parameters, "timeout"))
    return InferenceRequest(given.id or None, inputs, _outputs(model, given), schedule)


def response_of(model: Model, request: InferenceRequest, result: Mapping[str, Array]) -> Any:
    """The ModelInferResponse of a result."""
    answer = ModelInferResponse(
        model_name=model.settings.name,
        model_version=model.settings.version,
        id=request.id or "",
    )
    for output in request.outputs:
        spec, array = as_wanted(model.settings, output, result[output.spec.name])
        answer.outputs.add(name=spec.name, datatype=spec.datatype.name, shape=array.shape)
        answer.raw_output_contents.append(to_binary(spec.datatype, array))
    return answer


def _outputs(model: Model, given: Any) -> tuple[RequestedOutput, ...]:
    known = {spec.name: spec for spec in model.settings.outputs}
    if not given.outputs:
        return tuple(RequestedOutput(spec, True) for spec in known.values())
    wanted: dict[str, RequestedOutput] = {}
    for tensor in given.outputs:
        if tensor.name not in known:
            raise no_such("output", tensor.name, known)
        _refuse_unsupported(tensor.parameters)
        spec = known[tensor.name]
        classes = _count(tensor.parameters, "classification")
        if classes:
            from ..classification import checked_count

            checked_count(spec, classes)
        wish = RequestedOutput(spec, True, classes)
        require_same(wanted.setdefault(tensor.name, wish), wish)
    return tuple(wanted.values())


def _from_contents(spec: TensorSpec, shape: tuple[int, ...], contents: Any) -> Array:
    field = _CONTENTS.get(spec.datatype.name)
    if field is None:
        raise bad(f"input {quoted(spec.name)}: {spec.datatype.name} comes only as raw contents")
    values = getattr(contents, field)
    if len(values) != math.prod(shape):
        raise bad(
            f"input {quoted(spec.name)} of shape {list(shape)} needs {math.prod(shape)} elements"
            f" in {field}; got {len(values)}"
        )
    if spec.datatype is BYTES:
        return _texts(spec, values).reshape(shape)
    wide = np.array(values)
    array = wide.astype(spec.datatype.dtype).reshape(shape)
    if spec.datatype.dtype.kind in "iu" and not np.array_equal(array.reshape(-1), wide):
        raise bad(f"input {quoted(spec.name)}: a value is out of the range of {spec.datatype.name}")
    return array


def _texts(spec: TensorSpec, values: Any) -> Array:
    array = np.empty(len(values), dtype=object)
    try:
        array[:] = [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise bad(f"input {quoted(spec.name)}: BYTES must be UTF-8, as ONNX strings are") from error
    return array


def _refuse_unsupported(parameters: Any) -> None:
    for name in _UNSUPPORTED:
        if name in parameters:
            raise bad(f"the parameter {name!r} is not supported by this server")


def _count(parameters: Any, name: str) -> int:
    if name not in parameters:
        return 0
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in ("int64_param", "uint64_param") or getattr(parameter, kind) < 0:
        raise RequestError(400, f"the parameter {name} must be a whole number, not below 0")
    return int(getattr(parameter, kind))
