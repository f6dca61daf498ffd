"""Messages that gRPC carries as well as any other, and that no server may answer with OK; with each
one like it that is right (`GOOD`). They are for the models of `test_stock_clients.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from packager.runtime.grpc_service.messages import message

Change = Callable[[Any], object]
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def asked(model: str, datatype: str, array: np.ndarray[Any, Any], *changes: Change) -> bytes:
    """A ModelInferRequest of one raw tensor, changed."""
    request = message("inference.ModelInferRequest")(model_name=model)
    request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    request.raw_input_contents.append(array.tobytes())
    for change in changes:
        change(request)
    return bytes(request.SerializeToString())


def classifier(*changes: Change) -> bytes:
    return asked("classifier", "FP32", ROWS, *changes)


def shaped(*shape: int) -> Change:
    def change(request: Any) -> None:
        request.inputs[0].shape[:] = shape

    return change


def raw(*contents: bytes) -> Change:
    def change(request: Any) -> None:
        request.raw_input_contents[:] = contents

    return change


def typed(field: str, values: list[Any]) -> Change:
    def change(request: Any) -> None:
        del request.raw_input_contents[:]
        getattr(request.inputs[0].contents, field).extend(values)

    return change


def named(**fields: Any) -> Change:
    return lambda request: [setattr(request, name, value) for name, value in fields.items()]


def of_input(**fields: Any) -> Change:
    return lambda request: [setattr(request.inputs[0], *pair) for pair in fields.items()]


def again(request: Any) -> None:
    request.inputs.add().CopyFrom(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])


def output(*names: str, **parameters: str) -> Change:
    def change(request: Any) -> None:
        for name in names:
            found = request.outputs.add(name=name)
            for key, value in parameters.items():
                found.parameters[key].string_param = value

    return change


def classes(name: str, count: int) -> Change:
    def change(request: Any) -> None:
        request.outputs.add(name=name).parameters["classification"].int64_param = count

    return change


def text(name: str, value: str) -> Change:
    def change(request: Any) -> None:
        request.parameters[name].string_param = value

    return change


def negative(name: str) -> Change:
    def change(request: Any) -> None:
        request.parameters[name].int64_param = -1

    return change


FLAT = ROWS.ravel().tolist()
WORDS = np.frombuffer(b"\1\0\0\0a\1\0\0\0b", np.uint8)

GOOD: Mapping[str, bytes] = {
    "raw": classifier(),
    "typed": classifier(typed("fp32_contents", FLAT)),
    "outputs by name": classifier(output("label", "scores")),
    "an output twice": classifier(output("label", "label")),
    "classes": classifier(classes("scores", 2)),
    "more classes than there are": classifier(classes("label", 99)),
    "an id": classifier(named(id="ü" * 300)),
    "BYTES": asked("bytes", "BYTES", WORDS, shaped(1, 2)),
    "BOOL": asked("bool", "BOOL", np.array([[0, 1]], np.uint8)),
}
BROKEN: Mapping[str, bytes] = {
    "no message": b"\xff",
    "a message cut short": classifier()[:-3],
    "another wire type": b"\x08\x01",
    "nothing": b"",
    "no model": classifier(named(model_name="")),
    "an unknown model": classifier(named(model_name="none")),
    "an unknown version": classifier(named(model_version="9")),
    "a version that is no number": classifier(named(model_version="one")),
    "no inputs": classifier(lambda request: request.ClearField("inputs")),
    "no inputs, no contents": classifier(lambda request: request.ClearField("inputs"), raw()),
    "an unknown input": classifier(of_input(name="z")),
    "an input without a name": classifier(of_input(name="")),
    "an input twice": classifier(again),
    "another datatype": classifier(of_input(datatype="INT32")),
    "an unknown datatype": classifier(of_input(datatype="FP33")),
    "no datatype": classifier(of_input(datatype="")),
    "a datatype in small letters": classifier(of_input(datatype="fp32")),
    "too few dimensions": classifier(shaped(8)),
    "too many dimensions": classifier(shaped(2, 4, 1)),
    "no shape": classifier(shaped()),
    "another last dimension": classifier(shaped(4, 2)),
    "a negative dimension": classifier(shaped(-1, 4)),
    "dimensions whose product is right again": classifier(shaped(-2, -4)),
    "a dimension without end": classifier(shaped(1 << 62, 4)),
    "a product that overflows": classifier(shaped(1 << 62 | 2, 4)),
    "bytes missing": classifier(raw(ROWS.tobytes()[:-1])),
    "bytes too many": classifier(raw(ROWS.tobytes() + b"\0")),
    "no bytes": classifier(raw(b"")),
    "no contents": classifier(raw()),
    "contents for more inputs": classifier(raw(ROWS.tobytes(), b"")),
    "raw and typed": classifier(
        lambda request: request.inputs[0].contents.fp32_contents.extend(FLAT)
    ),
    "typed, too few": classifier(typed("fp32_contents", FLAT[:-1])),
    "typed, too many": classifier(typed("fp32_contents", [*FLAT, 1.0])),
    "typed, another field": classifier(typed("fp64_contents", FLAT)),
    "FP16 typed": asked(
        "fp16", "FP16", np.zeros((1, 2), np.float16), typed("fp32_contents", [1.0, 2.0])
    ),
    "UINT8 out of range": asked(
        "uint8", "UINT8", np.zeros((1, 2), np.uint8), typed("uint_contents", [1, 256])
    ),
    "INT8 out of range": asked(
        "int8", "INT8", np.zeros((1, 2), np.int8), typed("int_contents", [-129, 0])
    ),
    "BYTES cut within a length": asked("bytes", "BYTES", WORDS[:7], shaped(1, 2)),
    "BYTES cut within a text": asked("bytes", "BYTES", WORDS[:-1], shaped(1, 2)),
    "BYTES with a length beyond the end": asked(
        "bytes", "BYTES", np.frombuffer(b"\xff\xff\xff\xffab", np.uint8), shaped(1, 2)
    ),
    "BYTES, one too few": asked("bytes", "BYTES", WORDS[:5], shaped(1, 2)),
    "BYTES, one too many": asked("bytes", "BYTES", WORDS, shaped(1, 1)),
    "an unknown output": classifier(output("other")),
    "an output without a name": classifier(output("")),
    "negative classes": classifier(classes("scores", -1)),
    "classes in words": classifier(output("scores", classification="two")),
    "an input in shared memory that is not there": classifier(
        lambda request: setattr(
            request.inputs[0].parameters["shared_memory_region"], "string_param", "none"
        ),
        raw(),
    ),
    "an output into shared memory that is not there": classifier(
        output("label", shared_memory_region="none")
    ),
    "a priority in words": classifier(text("priority", "high")),
    "a negative priority": classifier(negative("priority")),
    "a timeout in words": classifier(text("timeout", "soon")),
    "a negative timeout": classifier(negative("timeout")),
}
