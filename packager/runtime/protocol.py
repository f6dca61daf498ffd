"""Inference requests of the Open Inference Protocol v2 over REST.

A request body is JSON; JSON followed by the binary tensors that it announces, where the header
`Inference-Header-Content-Length` gives the length of the JSON; or, where that header is 0, nothing
but the one input tensor. All lengths are checked against each other before a tensor is touched:
the JSON must fit into the body, each tensor must have the size of its shape, and nothing may be
left over. Source: Open Inference Protocol, `inference_rest.md`; Triton, "Binary Tensor Data
Extension".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from .datatypes import BYTES, Array, TensorSpec
from .errors import RequestError, quoted
from .reading import without_duplicates
from .tensors import bad, from_binary, from_json, from_raw_text

if TYPE_CHECKING:
    from .configuration import ModelSettings

_MOST_ELEMENTS = 1 << 40
_NUMBERS = re.compile(rb"\[[-+0-9.,eE\s\[\]]+\]")
# Extensions of other servers that change what the answer is: ignoring them would answer another
# question than the one that was asked.
_UNSUPPORTED = ("shared_memory_region",)


class RequestedOutput(NamedTuple):
    """An output that the client wants, whether as binary data, and how many classes of it (0: all
    its values; see `classification`)."""

    spec: TensorSpec
    binary: bool
    classes: int = 0


def as_wanted(
    settings: ModelSettings, output: RequestedOutput, array: Array
) -> tuple[TensorSpec, Array]:
    """What an answer says of an output: its values, or the classes of it."""
    if not output.classes:
        return output.spec, array
    from .classification import classified

    return classified(settings, output.spec, array, output.classes)


class Schedule(NamedTuple):
    """Triton's scheduling parameters: 0 is the default level, and no timeout (microseconds)."""

    priority: int = 0
    timeout: int = 0


class InferenceRequest(NamedTuple):
    """What a client asks: arrays by input name, and the outputs in the order of the answer."""

    id: str | None
    inputs: Mapping[str, Array]
    outputs: tuple[RequestedOutput, ...]
    schedule: Schedule


class Signature(NamedTuple):
    """The declared tensors of a model, which every request must fit."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def parse_request(
    signature: Signature, body: memoryview, header_length: int | None
) -> InferenceRequest:
    """Read a body. `header_length` is the value of Inference-Header-Content-Length, if any.

    Raises RequestError (400) with the first thing that is wrong.
    """
    if header_length == 0:
        return _raw_request(signature, body)
    if header_length is not None and header_length > len(body):
        raise bad(f"the JSON is said to have {header_length} bytes, the body has {len(body)}")
    end = len(body) if header_length is None else header_length
    document = _object(_json(body[:end]), "the request")
    parameters = _parameters(document, "the request")
    return InferenceRequest(
        id=_id(document),
        inputs=_inputs(signature, document, body[end:]),
        outputs=_outputs(signature, document, _flag(parameters, "binary_data_output", False)),
        schedule=Schedule(_count(parameters, "priority"), _count(parameters, "timeout")),
    )


def _raw_request(signature: Signature, body: memoryview) -> InferenceRequest:
    """A raw binary request: no JSON, one input, all outputs come back as binary data."""
    if len(signature.inputs) != 1:
        raise bad(f"a raw binary request needs a model with 1 input; {len(signature.inputs)} here")
    spec = signature.inputs[0]
    array = (
        from_raw_text(spec.name, _rank_of_single(spec), body)
        if spec.datatype is BYTES
        else from_binary(spec.name, spec.datatype, _deduced_shape(spec, len(body)), body)
    )
    outputs = tuple(RequestedOutput(output, True) for output in signature.outputs)
    return InferenceRequest(None, {spec.name: array}, outputs, Schedule())


def _rank_of_single(spec: TensorSpec) -> int:
    if any(size not in (-1, 1) for size in spec.shape):
        raise bad(f"a raw binary request of BYTES is one element; the input is {spec}")
    return len(spec.shape)


def _deduced_shape(spec: TensorSpec, size: int) -> tuple[int, ...]:
    """The only shape that `size` bytes can have; where two dimensions are free, the batch is 1."""
    shape = list(spec.shape)
    if shape.count(-1) > 1:
        shape[0] = 1 if shape[0] == -1 else shape[0]
    if shape.count(-1) > 1:
        raise bad(f"a raw binary request cannot tell the shape of {spec}")
    if -1 in shape:
        row = spec.datatype.itemsize * math.prod(part for part in shape if part != -1)
        shape[shape.index(-1)] = size // row if row else 0
    return tuple(shape)


def _inputs(signature: Signature, document: dict[str, Any], binary: memoryview) -> dict[str, Array]:
    known = {spec.name: spec for spec in signature.inputs}
    entries = document.get("inputs")
    if type(entries) is not list:
        raise bad("the request must have a list of inputs")
    arrays: dict[str, Array] = {}
    position = 0
    for entry in entries:
        tensor = _object(entry, "an input")
        spec = _named(tensor, known, "input")
        if spec.name in arrays:
            raise bad(f"input {quoted(spec.name)} is given twice")
        size = _binary_size(tensor, spec, len(binary) - position)
        data = None if size is None else binary[position : position + size]
        arrays[spec.name] = _input(tensor, spec, data)
        position += size or 0
    if missing := [name for name in known if name not in arrays]:
        raise bad(f"input {quoted(missing[0])} is missing")
    if position != len(binary):
        raise bad(f"{len(binary) - position} bytes of binary data belong to no input")
    return arrays


def _input(tensor: dict[str, Any], spec: TensorSpec, binary: memoryview | None) -> Array:
    if tensor.get("datatype") != spec.datatype.name:
        raise bad(f"input {quoted(spec.name)} must have datatype {spec.datatype.name}")
    shape = checked_shape(tensor.get("shape"), spec)
    if binary is None:
        if "data" not in tensor:
            raise bad(f"input {quoted(spec.name)} has neither data nor binary_data_size")
        return from_json(spec.name, spec.datatype, shape, tensor["data"])
    if "data" in tensor:
        raise bad(f"input {quoted(spec.name)} has both data and binary_data_size")
    return from_binary(spec.name, spec.datatype, shape, binary)


def checked_shape(shape: Any, spec: TensorSpec) -> tuple[int, ...]:
    """The shape of an input, which must fit the declared one; raises RequestError (400)."""
    if type(shape) is not list or any(type(size) is not int or size < 0 for size in shape):
        raise bad(f"input {quoted(spec.name)} must have a shape of whole numbers, none below 0")
    fits = len(shape) == len(spec.shape) and all(
        declared in (-1, size) for declared, size in zip(spec.shape, shape, strict=True)
    )
    # A size that no array can have would make numpy raise instead of us.
    if not fits or math.prod(size for size in shape if size) > _MOST_ELEMENTS:
        raise bad(
            f"input {quoted(spec.name)} must have shape {list(spec.shape)}, where -1 is free;"
            f" got {quoted(str(shape))}"
        )
    return tuple(shape)


def _binary_size(tensor: dict[str, Any], spec: TensorSpec, left: int) -> int | None:
    parameters = _parameters(tensor, f"input {quoted(spec.name)}")
    if "binary_data_size" not in parameters:
        return None
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise bad(f"input {quoted(spec.name)}: binary_data_size must be a whole number")
    if size > left:
        raise bad(
            f"input {quoted(spec.name)}: binary_data_size is {quoted(str(size), 24)},"
            f" but {left} bytes of binary data are left"
        )
    return size


def _outputs(
    signature: Signature, document: dict[str, Any], binary: bool
) -> tuple[RequestedOutput, ...]:
    entries = document.get("outputs", [])
    if type(entries) is not list:
        raise bad("outputs must be a list")
    if not entries:
        return tuple(RequestedOutput(spec, binary) for spec in signature.outputs)
    known = {spec.name: spec for spec in signature.outputs}
    wanted: dict[str, RequestedOutput] = {}
    for entry in entries:
        tensor = _object(entry, "an output")
        spec = _named(tensor, known, "output")
        parameters = _parameters(tensor, f"output {quoted(spec.name)}")
        classes = 0
        if "classification" in parameters:
            from .classification import checked_count  # seldom, and no start has to wait for it

            classes = checked_count(spec, parameters["classification"])
        wish = RequestedOutput(spec, _flag(parameters, "binary_data", binary), classes)
        require_same(wanted.setdefault(spec.name, wish), wish)
    return tuple(wanted.values())


def require_same(first: RequestedOutput, again: RequestedOutput) -> None:
    """An output that is asked for twice is answered once; raises RequestError (400) where it is
    not clear how."""
    if first != again:
        raise bad(f"output {quoted(first.spec.name)} is asked for twice, in two ways")


def _named(tensor: dict[str, Any], known: dict[str, TensorSpec], kind: str) -> TensorSpec:
    name = tensor.get("name")
    if type(name) is not str or name not in known:
        raise no_such(kind, name, known)
    return known[name]


def no_such(kind: str, name: object, known: Iterable[str]) -> RequestError:
    """400, for a tensor that the model does not have."""
    got = quoted(name) if type(name) is str else "no text"
    return bad(f"the model has no {kind} {got}; it has {', '.join(map(quoted, known))}")


def _parameters(holder: dict[str, Any], what: str) -> dict[str, Any]:
    given = holder.get("parameters", {})
    # Languages with one type for lists and maps (PHP, Lua) write an empty map as [].
    parameters = {} if given == [] else _object(given, f"parameters of {what}")
    for name in _UNSUPPORTED:
        if name in parameters:
            raise bad(f"{what}: the parameter {name!r} is not supported by this server")
    return parameters


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise bad(f"the parameter {name} must be true or false")
    return value


def _count(parameters: dict[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value < _MOST_ELEMENTS:
        raise bad(f"the parameter {name} must be a whole number, not below 0")
    return value


def _id(document: dict[str, Any]) -> str | None:
    value = document.get("id")
    if value is None:
        return None
    if type(value) is not str:
        raise bad("id must be text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise bad("id holds a lone surrogate, which is no character") from error
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise bad(f"{what} must be an object")
    return value


def _json(data: memoryview) -> Any:
    """Read strictly: no duplicate keys, which two readers could read differently, and no NaN."""
    try:
        value = orjson.loads(data)
        _refuse_duplicates(bytes(data))
    except RecursionError as error:
        raise bad("the request is nested too deeply") from error
    except ValueError as error:
        # The message of a JSON error says where, never what, so that it may be told.
        raise bad(f"the request is not JSON: {error}") from error
    return value


def _refuse_duplicates(data: bytes) -> None:
    """The quick reader cannot see two keys of one name, the slow one needs not see the numbers.

    Raises ValueError. A list of numbers within a text is left out as well, so that what looks like
    a duplicate then is looked at again in full.
    """
    skeleton = _NUMBERS.sub(b"[]", data)
    try:
        json.loads(skeleton, object_pairs_hook=without_duplicates)
    except ValueError:
        json.loads(data, object_pairs_hook=without_duplicates)
