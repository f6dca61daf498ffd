"""What is read quickly means what it means when it is read in full, and is refused alike."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.runtime.datatypes import DATATYPES, TensorSpec
from packager.runtime.errors import RequestError
from packager.runtime.protocol import InferenceRequest, Signature, parse_request
from packager.runtime.requests import RequestReader
from packager.runtime.text_layouts import TextLayouts

SIGNATURE = Signature(
    (TensorSpec("x", DATATYPES["FP32"], (-1, 3)), TensorSpec("n", DATATYPES["INT64"], (-1,))),
    (TensorSpec("y", DATATYPES["FP32"], (-1, 2)),),
)
BODY = (
    b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1.5,2,-3e2]},'
    b'{"name":"n","shape":[1],"datatype":"INT64","data":[7]}],"outputs":[{"name":"y"}]}'
)


def outcome(read: Any, body: bytes) -> Any:
    try:
        request: InferenceRequest = read(body)
    except RequestError as error:
        return error.status, str(error)
    inputs = {name: (str(a.dtype), a.shape, a.tolist()) for name, a in request.inputs.items()}
    return request.id, inputs, request.outputs, request.schedule


def in_full(body: bytes) -> Any:
    return outcome(lambda data: parse_request(SIGNATURE, memoryview(data), None), body)


def reader_that_knows(body: bytes) -> RequestReader:
    reader = RequestReader(SIGNATURE)
    reader.parse(body, None)
    return reader


def quickly(body: bytes, known: bytes = BODY) -> Any:
    return outcome(lambda data: reader_that_knows(known).parse(data, None), body)


def layouts_that_know(body: bytes) -> TextLayouts:
    layouts = TextLayouts({spec.name: spec for spec in SIGNATURE.inputs})
    layouts.learn(body, parse_request(SIGNATURE, memoryview(body), None))
    return layouts


def test_other_numbers_in_the_same_document_are_read_quickly() -> None:
    other = BODY.replace(b"[1.5,2,-3e2]", b"[ [4, 5e-1,6 ] ]").replace(b"[7]", b"[ -1]")
    found = layouts_that_know(BODY).read(other)
    assert found is not None
    assert found.inputs["x"].tolist() == [[4.0, 0.5, 6.0]]
    assert found.inputs["n"].tolist() == [-1]
    assert quickly(other) == in_full(other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"FP32","data"', b'"FP32","parameters":{"id":"[1,2]"},"data"'),
        (b"[1,3]", b"[1, 3]"),
        (b'"name":"x"', b'"x":"[5]","name":"x"'),
    ],
)
def test_lists_that_are_no_tensors_belong_to_what_must_be_the_same(old: bytes, new: bytes) -> None:
    body = BODY.replace(old, new, 1)
    found = layouts_that_know(body).read(body.replace(b"-3e2", b"9"))
    assert found is not None
    assert found.inputs["x"].tolist() == [[1.5, 2.0, 9.0]]
    assert layouts_that_know(body).read(BODY) is None


def test_a_request_with_an_id_is_not_remembered() -> None:
    body = BODY.replace(b'{"inputs"', b'{"id":"anna","inputs"')
    assert layouts_that_know(body).read(body) is None


@pytest.mark.parametrize(
    "list_",
    [
        b"[1,2]",
        b"[1,2,3,4]",
        b"[1,2,true]",
        b"[1,2,null]",
        b'[1,2,"3"]',
        b"[1,2,1e39]",
        b"[1,2,1e400]",
        b"[[1],[2],[3]]",
        b"[1,2,3",
        b"[1,2,3]]",
        b"1",
        b"",
        b'{"a":1,"a":2}',
        b'[1,2,3],"data":[4,5,6]',
        b'[1,2,3],"name":"n"',
        b'[1,2,3]},{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]',
    ],
)
def test_what_is_refused_is_refused_alike(list_: bytes) -> None:
    body = BODY.replace(b"[1.5,2,-3e2]", list_)
    assert quickly(body)[0] == 400
    assert quickly(body) == in_full(body)


@given(st.data())
def test_a_changed_document_means_what_it_means(data: st.DataObject) -> None:
    pieces = [b"[", b"]", b",", b"1", b"-", b".5", b" ", b'"', b"}", b"{", b'"data":', b"[2,3]"]
    at = data.draw(st.integers(0, len(BODY)))
    cut = data.draw(st.integers(0, 12))
    put = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=5)))
    body = BODY[:at] + put + BODY[at + cut :]
    assert quickly(body) == in_full(body)


@given(
    st.lists(st.floats(width=64, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    st.integers(-(2**70), 2**70),
)
def test_any_numbers(floats: list[float], number: int) -> None:
    body = BODY.replace(b"[1.5,2,-3e2]", json.dumps(floats).encode())
    body = body.replace(b"[7]", b"[%d]" % number)
    assert quickly(body) == in_full(body)


def test_only_a_few_layouts_are_kept() -> None:
    layouts = TextLayouts({spec.name: spec for spec in SIGNATURE.inputs})
    bodies = [BODY.replace(b'"outputs"', b'"parameters":{"p":%d},"outputs"' % n) for n in range(99)]
    for body in bodies:
        layouts.learn(body, parse_request(SIGNATURE, memoryview(body), None))
    assert sum(layouts.read(body) is not None for body in bodies) == 8


def test_the_largest_number_that_fits_is_the_last_one() -> None:
    most = float(np.finfo(np.float32).max)
    body = BODY.replace(b"[1.5,2,-3e2]", json.dumps([most, 0, 0]).encode())
    assert quickly(body) == in_full(body)
    assert quickly(body)[1]["x"][2] == [[most, 0.0, 0.0]]
