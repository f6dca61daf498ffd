"""What is read and written quickly is what protobuf reads and writes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.runtime.datatypes import BYTES, DATATYPES, TensorSpec
from packager.runtime.errors import RequestError
from packager.runtime.grpc_service.conversion import request_of, response_of
from packager.runtime.grpc_service.framing import PREFIX, framed, unframed
from packager.runtime.grpc_service.known_messages import Answers, Known, KnownRequests, varint
from packager.runtime.grpc_service.messages import message
from packager.runtime.protocol import RequestedOutput

Request, Response = message("inference.ModelInferRequest"), message("inference.ModelInferResponse")
FP32, INT64, BOOL = DATATYPES["FP32"], DATATYPES["INT64"], DATATYPES["BOOL"]
INPUTS = (
    TensorSpec("a", FP32, (-1, 2)),
    TensorSpec("b", INT64, (-1,)),
    TensorSpec("c", BOOL, (-1,)),
)
OUTPUTS = (TensorSpec("y", FP32, (-1, 2)), TensorSpec("z", INT64, (-1,)))
MODEL: Any = SimpleNamespace(
    settings=SimpleNamespace(name="m", version="1", inputs=INPUTS, outputs=OUTPUTS)
)


def asked(rows: int, fill: int, **more: Any) -> Any:
    request = Request(model_name="m", **more)
    for spec in INPUTS:
        shape = [rows, *spec.shape[1:]]
        request.inputs.add(name=spec.name, datatype=spec.datatype.name, shape=shape)
        count = int(np.prod(shape)) * spec.datatype.itemsize
        request.raw_input_contents.append(
            bytes([fill & 1 if spec.datatype is BOOL else fill]) * count
        )
    return request


def in_full(data: bytes) -> Any:
    return request_of(MODEL, Request.FromString(unframed(data, b"identity", 1 << 30)))


def same(one: Any, other: Any) -> bool:
    return (
        (one.id, one.outputs, one.schedule) == (other.id, other.outputs, other.schedule)
        and list(one.inputs) == list(other.inputs)
        and all(
            np.array_equal(one.inputs[name], other.inputs[name], equal_nan=True)
            and one.inputs[name].dtype == other.inputs[name].dtype
            for name in one.inputs
        )
    )


def taught(*requests: Any) -> KnownRequests:
    known = KnownRequests()
    for request in requests:
        data = framed([request.SerializeToString()])
        known.learn(data, request, Known(MODEL, in_full(data)))
    return known


CHANGES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=3)


@settings(deadline=None)
@given(
    rows=st.integers(0, 4), fill=st.integers(0, 255), changes=CHANGES,
    outputs=st.sampled_from([[], ["z"], ["z", "y"]]), priority=st.sampled_from([None, 0, 2]),
)  # fmt: skip
def test_a_message_that_differs_by_some_bytes(
    rows: int, fill: int, changes: list[tuple[int, int]], outputs: list[str], priority: int | None
) -> None:
    first = asked(rows, 0)
    for name in outputs:
        first.outputs.add(name=name)
    if priority is not None:
        first.parameters["priority"].int64_param = priority
    known = taught(first)
    second = Request()
    second.CopyFrom(first)
    for place, raw in enumerate(first.raw_input_contents):
        second.raw_input_contents[place] = bytes([fill & 1 if place == 2 else fill]) * len(raw)
    data = bytearray(framed([second.SerializeToString()]))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        found = known.read(bytes(data))
    except RequestError as error:
        with pytest.raises(RequestError) as slow:
            in_full(bytes(data))
        assert str(slow.value) == str(error)
        return
    if not changes:
        assert found is not None
    if found is not None:
        assert same(found.request, in_full(bytes(data)))
        assert found.model is MODEL


def test_other_sizes_and_orders_are_known_beside_each_other() -> None:
    backwards = asked(2, 0)
    reverse = Request(model_name="m")
    for tensor, raw in zip(
        list(backwards.inputs)[::-1], list(backwards.raw_input_contents)[::-1], strict=True
    ):
        reverse.inputs.append(tensor)
        reverse.raw_input_contents.append(raw)
    known = taught(asked(1, 0), asked(2, 0), reverse)
    for request in (asked(1, 7), asked(2, 8), reverse):
        data = framed([request.SerializeToString()])
        found = known.read(data)
        assert found is not None
        assert same(found.request, in_full(data))
    assert known.read(framed([asked(3, 0).SerializeToString()])) is None


def test_what_is_not_remembered() -> None:
    with_id = asked(1, 0, id="a person")
    assert taught(with_id).read(framed([with_id.SerializeToString()])) is None
    # Raw contents that stand elsewhere as well: the end alone would not tell what they are.
    strange = asked(1, 3)
    data = strange.SerializeToString()
    raw = b"".join(b"\x3a" + varint(len(one)) + one for one in strange.raw_input_contents)
    assert data.endswith(raw)
    hidden = b"\xa2\x06" + varint(len(raw))  # field 100, which protobuf does not know
    made = raw + data[: -len(raw)] + hidden + raw
    whole = framed([made])
    known = KnownRequests()
    known.learn(whole, Request.FromString(made), Known(MODEL, in_full(whole)))
    assert known.read(whole) is None


def test_not_more_than_some_are_remembered() -> None:
    known = KnownRequests()
    for number in range(40):
        request = asked(1, 0, model_version=str(number + 10))
        data = framed([request.SerializeToString()])
        known.learn(data, request, Known(MODEL, in_full(data)))
    assert sum(map(len, known._by_size.values())) == 4


@settings(deadline=None)
@given(
    rows=st.integers(0, 5),
    name=st.sampled_from([None, "", "7", "ü" * 90]),
    names=st.sampled_from([("y",), ("z",), ("y", "z"), ("z", "y")]),
)
def test_answers_are_protobufs(rows: int, name: str | None, names: tuple[str, ...]) -> None:
    specs = {spec.name: spec for spec in OUTPUTS}
    result = {
        "y": np.arange(rows * 2, dtype="<f4").reshape(rows, 2)[::-1],
        "z": np.arange(rows, dtype="<i8"),
    }
    request: Any = SimpleNamespace(
        id=name, outputs=[RequestedOutput(specs[one], True) for one in names]
    )
    answers = Answers()
    for _ in range(2):
        data = answers.write(MODEL, request, result)
        assert data[PREFIX:] == response_of(MODEL, request, result).SerializeToString()
        assert unframed(data, b"identity", 1 << 20) == data[PREFIX:]


def test_texts_in_answers() -> None:
    spec = TensorSpec("t", BYTES, (-1,))
    request: Any = SimpleNamespace(id=None, outputs=[RequestedOutput(spec, True)])
    texts = np.array(["é", "", "b" * 300], dtype=object)
    answers = Answers()
    for array in (texts, texts[::-1], texts[:1]):
        data = answers.write(MODEL, request, {"t": array})
        wanted = response_of(MODEL, request, {"t": array})
        assert Response.FromString(data[PREFIX:]) == wanted


@settings(deadline=None)
@given(st.integers(0, 1 << 40))
def test_varint(value: int) -> None:
    found = message("inference.InferParameter").FromString(b"\x10" + varint(value))
    assert found.int64_param == value
