"""Messages read and written quickly: what was said before is not read again.

A client sends the same message over and over, but for the bytes of its tensors, which come last
(protobuf writes fields in the order of their numbers). What stands before them is remembered:
names, shapes and wishes, never a tensor and never a message with an `id`, which may be about a
person. Messages one after the other are read as one (Protocol Buffers, "Encoding", "Last One
Wins"), so a beginning that is a message by itself means the same before any tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from ..datatypes import BYTES, Array, TensorSpec
from ..models import Model
from ..protocol import InferenceRequest, RequestedOutput, Schedule, as_wanted
from ..tensors import from_binary, to_binary
from .framing import PREFIX, framed
from .messages import message

_Request = message("inference.ModelInferRequest")
_Response = message("inference.ModelInferResponse")
_RAW_INPUT = b"\x3a"  # field 7, length-delimited: ModelInferRequest.raw_input_contents
_RAW_OUTPUT = b"\x32"  # field 6, length-delimited: ModelInferResponse.raw_output_contents
_MOST_LAYOUTS = 256
_MOST_OF_A_SIZE = 4
_LONGEST_BEGINNING = 4096


class Known(NamedTuple):
    """A request and the model that it is for."""

    model: Model
    request: InferenceRequest


class _Layout(NamedTuple):
    """Where the tensors lie behind a beginning, and what stands between them."""

    beginning: bytes
    between: tuple[tuple[int, bytes], ...]
    inputs: tuple[tuple[TensorSpec, tuple[int, ...], int, int], ...]
    model: Model
    outputs: tuple[RequestedOutput, ...]
    schedule: Schedule


class KnownRequests:
    """The beginnings of requests, by the size of the framed message."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[_Layout]] = {}
        self._count = 0

    def read(self, data: bytes) -> Known | None:
        """A framed message whose beginning is known; raises RequestError (400) for its tensors."""
        for layout in self._by_size.get(len(data), ()):
            if data.startswith(layout.beginning) and all(
                data.startswith(part, place) for place, part in layout.between
            ):
                view = memoryview(data)
                inputs = {
                    spec.name: from_binary(spec.name, spec.datatype, shape, view[first:last])
                    for spec, shape, first, last in layout.inputs
                }
                request = InferenceRequest(None, inputs, layout.outputs, layout.schedule)
                return Known(layout.model, request)
        return None

    def learn(self, data: bytes, given: Any, known: Known) -> None:
        """Remember the beginning of a framed message that was read in full as `given`."""
        raw = given.raw_input_contents
        same_size = self._by_size.setdefault(len(data), [])
        heads = [_RAW_INPUT + varint(len(one)) for one in raw]
        start = len(data) - sum(map(len, heads)) - sum(map(len, raw))
        if (
            not raw
            or given.id
            or self._count >= _MOST_LAYOUTS
            or len(same_size) >= _MOST_OF_A_SIZE
            or not PREFIX <= start <= _LONGEST_BEGINNING
            or not _is_whole(data[PREFIX:start])
        ):
            return
        specs = {spec.name: spec for spec in known.model.settings.inputs}
        place, between, inputs = start, [], []
        for head, one, tensor in zip(heads, raw, given.inputs, strict=True):
            first = place + len(head)
            if not data.startswith(head, place) or not data.startswith(one, first):
                return
            between.append((place, head))
            place = first + len(one)
            inputs.append((specs[tensor.name], tuple(tensor.shape), first, place))
        beginning = data[: start + len(heads[0])]
        request = known.request
        same_size.append(
            _Layout(
                beginning, tuple(between[1:]), tuple(inputs),
                known.model, request.outputs, request.schedule,
            )
        )  # fmt: skip
        self._count += 1


class Answers:
    """Writes framed answers; what is the same in many of them is written once."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], bytes] = {}
        self._described: dict[tuple[Any, ...], bytes] = {}

    def write(self, model: Model, request: InferenceRequest, result: Mapping[str, Array]) -> bytes:
        """A framed ModelInferResponse."""
        settings = model.settings
        key = (settings.name, settings.version)
        named = self._named.get(key)
        if named is None:
            made = _Response(model_name=settings.name, model_version=settings.version)
            named = self._named[key] = made.SerializeToString()
        parts = [named]
        if request.id:
            parts.append(_Response(id=request.id).SerializeToString())
        arrays = [
            as_wanted(settings, output, result[output.spec.name]) for output in request.outputs
        ]
        parts.append(self._description(arrays))
        for spec, array in arrays:
            raw = to_binary(spec.datatype, array)
            parts += (_RAW_OUTPUT, varint(len(raw)), raw)
        return framed(parts)

    def _description(self, arrays: list[tuple[TensorSpec, Array]]) -> bytes:
        key = tuple((spec.name, spec.datatype.name, array.shape) for spec, array in arrays)
        found = self._described.get(key)
        if found is None:
            made = _Response()
            for name, datatype, shape in key:
                made.outputs.add(name=name, datatype=datatype, shape=shape)
            found = made.SerializeToString()
            if len(self._described) < _MOST_LAYOUTS:
                self._described[key] = found
        return found


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first. Protocol Buffers, "Encoding"."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _is_whole(beginning: bytes) -> bool:
    """Whether it is a message by itself, without tensors, and nothing in it is unknown."""
    try:
        found = _Request.FromString(beginning)
    except DecodeError:
        return False
    if found.raw_input_contents:
        return False
    # What protobuf does not know it keeps, and what it keeps stays when the rest is taken out.
    kept = len(found.SerializeToString())
    found.DiscardUnknownFields()
    return len(found.SerializeToString()) == kept


def is_fixed(model: Model) -> bool:
    """Whether the size of every input follows from its shape."""
    return all(spec.datatype is not BYTES for spec in model.settings.inputs)
