"""Answers of the Open Inference Protocol v2 over REST.

An answer is JSON, followed by those outputs that the client wanted as binary data, in the order of
the JSON, each of the size that its `binary_data_size` gives (Triton, "Binary Tensor Data
Extension").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .datatypes import Array, TensorSpec
from .exchange import dump
from .protocol import InferenceRequest, as_wanted
from .tensors import json_text, to_binary

if TYPE_CHECKING:
    from .configuration import ModelSettings


class AnswerWriter:
    """Writes the answers of one model; what is the same in all of them is written once."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        named = {"model_name": settings.name, "model_version": settings.version}
        self._begin = dump(named)[:-1]
        self._outputs = {spec.name: _begin(spec) for spec in settings.outputs}

    def render(
        self, request: InferenceRequest, results: Mapping[str, Array]
    ) -> tuple[bytes, int | None]:
        """The body of the answer, and the length of its JSON where binary tensors follow it.

        Raises RequestError (400) for an output that JSON cannot say.
        """
        parts = [self._begin]
        if request.id is not None:
            parts += [b',"id":', dump(request.id)]
        parts.append(b',"outputs":[')
        tensors: list[bytes] = []
        separator = b""
        for output in request.outputs:
            spec, array = as_wanted(self._settings, output, results[output.spec.name])
            begin = _begin(spec) if output.classes else self._outputs[spec.name]
            parts += [separator, begin, dump(array.shape)]
            separator = b","
            if output.binary:
                tensors.append(to_binary(spec.datatype, array))
                parts.append(b',"parameters":{"binary_data_size":%d}}' % len(tensors[-1]))
            else:
                parts += [b',"data":', json_text(spec.name, spec.datatype, array), b"}"]
        parts.append(b"]}")
        head = b"".join(parts)
        return (b"".join([head, *tensors]), len(head)) if tensors else (head, None)


def _begin(spec: TensorSpec) -> bytes:
    return dump({"name": spec.name, "datatype": spec.datatype.name})[:-1] + b',"shape":'
