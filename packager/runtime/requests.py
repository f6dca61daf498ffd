"""Reading requests quickly: what was said before is not read again.

Most clients send the same JSON before their binary tensors over and over. What such a head means
depends on nothing but its bytes, so a bounded number of them is remembered: names, shapes and
wishes, never a tensor and never a head with an `id`, which may be about a person. For requests that
are JSON alone see `text_layouts`.
"""

from __future__ import annotations

from typing import NamedTuple

from .datatypes import TensorSpec
from .protocol import InferenceRequest, RequestedOutput, Schedule, Signature, parse_request
from .tensors import from_binary
from .text_layouts import TextLayouts

_MOST_HEADS = 256
_LONGEST_HEAD = 4096


class _Layout(NamedTuple):
    """Where the inputs lie behind a head: spec, shape, first and last byte."""

    inputs: tuple[tuple[TensorSpec, tuple[int, ...], int, int], ...]
    size: int
    outputs: tuple[RequestedOutput, ...]
    schedule: Schedule


class RequestReader:
    """Reads the requests of one model."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._layouts: dict[bytes, _Layout] = {}
        self._texts = TextLayouts({spec.name: spec for spec in signature.inputs})

    def parse(self, body: bytes, header_length: int | None) -> InferenceRequest:
        """As `protocol.parse_request`; raises RequestError (400)."""
        if header_length is None:
            known = self._texts.read(body)
            if known is None:
                known = parse_request(self._signature, memoryview(body), None)
                self._texts.learn(body, known)
            return known
        data = memoryview(body)
        if not header_length or header_length > min(_LONGEST_HEAD, len(data)):
            return parse_request(self._signature, data, header_length)
        head = bytes(data[:header_length])
        layout = self._layouts.get(head)
        if layout is None or layout.size != len(data) - header_length:
            request = parse_request(self._signature, data, header_length)
            self._remember(head, request, len(data) - header_length)
            return request
        tensors = data[header_length:]
        inputs = {
            spec.name: from_binary(spec.name, spec.datatype, shape, tensors[first:last])
            for spec, shape, first, last in layout.inputs
        }
        return InferenceRequest(None, inputs, layout.outputs, layout.schedule)

    def _remember(self, head: bytes, request: InferenceRequest, size: int) -> None:
        if request.id is not None or len(self._layouts) >= _MOST_HEADS:
            return
        known = {spec.name: spec for spec in self._signature.inputs}
        inputs, first = [], 0
        for name, array in request.inputs.items():
            spec = known[name]
            if spec.datatype.name == "BYTES":
                return
            last = first + array.nbytes
            inputs.append((spec, array.shape, first, last))
            first = last
        # Where a tensor came as JSON, the sizes do not add up.
        if first == size:
            self._layouts[head] = _Layout(tuple(inputs), size, request.outputs, request.schedule)
