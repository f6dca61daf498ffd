"""Content-Encoding, both ways: a packed body counts as what it becomes."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.runtime import body
from packager.runtime.errors import RequestError

LIMIT = 100


def test_plain_and_packed() -> None:
    assert body.unpack(b"ab", b"", LIMIT) == b"ab"
    assert body.unpack(gzip.compress(b"ab"), b" GZIP ", LIMIT) == b"ab"
    assert body.unpack(zlib.compress(b"ab"), b"deflate", LIMIT) == b"ab"


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (gzip.compress(bytes(LIMIT + 1)), b"gzip", 413),
        (gzip.compress(bytes(1 << 20)), b"gzip", 413),
        (gzip.compress(b"ab")[:-3], b"gzip", 400),
        (gzip.compress(b"ab") + b"x", b"gzip", 400),
        (b"ab", b"deflate", 400),
        (b"ab", b"br", 415),
    ],
    # Packed bytes carry the time; a name made of them is another one in each worker.
    ids=["beyond the limit", "a bomb", "cut short", "a tail", "no deflate", "unknown"],
)
def test_what_is_refused(data: bytes, encoding: bytes, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        body.unpack(data, encoding, LIMIT)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"", None),
        (b"br", None),
        (b"gzip", b"gzip"),
        (b"br, deflate;q=0.5, gzip", b"deflate"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"gzip; q=0.000", None),
        (b"identity, *", None),
    ],
)
def test_what_a_client_accepts(accepted: bytes, coding: bytes | None) -> None:
    assert body.acceptable(accepted) == coding


@given(st.binary(max_size=LIMIT), st.sampled_from([b"gzip", b"deflate"]))
def test_what_is_packed_comes_out_again(data: bytes, coding: bytes) -> None:
    assert body.unpack(body.pack(data, coding), coding, LIMIT) == data
