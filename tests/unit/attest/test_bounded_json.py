"""JSON from strangers: what is refused, and that refusing is quick."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.attest import base64_text
from packager.attest.bounded_json import MAX_DEPTH, load_object, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_reads_what_json_writes(value):
    try:
        data = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert loads(data, limit=len(data)) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'[{"b":{"a":1,"a":1}}]', "twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b'"\xff"', "UTF-8"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"9" * 5000, "digits"),
        (b"[" * 100_000, "deep"),
        (b'{"a":' * 100_000, "deep"),
        (b"[" * 33 + b"]" * 33, "deep"),
    ],
)
def test_refused(data, why):
    with pytest.raises(ValueError, match=why):
        loads(data, limit=1 << 20)


def test_depth_and_length_are_exact():
    for inner in (b"", b"1", b'""'):
        deepest = b"[" * MAX_DEPTH + inner + b"]" * MAX_DEPTH
        assert loads(deepest, limit=100)
        with pytest.raises(ValueError, match="deep"):
            loads(b"[" + deepest + b"]", limit=100)
    assert loads(b"17", limit=2) == 17
    with pytest.raises(ValueError, match="longer"):
        loads(b"170", limit=2)


def test_an_object_is_an_object():
    assert load_object(b'{"a":1}', limit=9) == {"a": 1}
    with pytest.raises(ValueError, match="object"):
        load_object(b"[]", limit=9)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(ValueError):
        loads(data, limit=200)


@given(st.binary(max_size=60))
def test_base64_has_one_spelling(data):
    text = base64_text.encode(data)
    assert base64_text.decode(text) == data


@pytest.mark.parametrize("text", ["QQ", "QR==", "Q Q==", "QQ==\n", "QQ=", "Q-==", "é", None, 7])
def test_other_spellings_are_refused(text):
    with pytest.raises(ValueError, match="base64"):
        base64_text.decode(text)
