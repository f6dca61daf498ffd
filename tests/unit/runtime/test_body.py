"""Bodies are read within bounds of size and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from packager.runtime import body
from packager.runtime.errors import RequestError

LIMIT = 100


def messages(*chunks: bytes | None) -> body.Receive:
    """A `receive` that gives the chunks one by one; None is a client that leaves."""
    left = list(chunks)

    async def receive() -> Mapping[str, Any]:
        chunk = left.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    return receive


def read(receive: body.Receive, headers: body.Headers | None = None) -> bytes:
    return asyncio.run(body.read(receive, headers or {}, LIMIT))


def test_one_piece_and_several() -> None:
    assert read(messages(b"ab")) == b"ab"
    assert read(messages(b"a", b"", b"b")) == b"ab"
    assert read(messages(bytes(LIMIT))) == bytes(LIMIT)


@pytest.mark.parametrize(
    "chunks", [(bytes(LIMIT + 1),), (bytes(60), bytes(60)), (bytes(60), bytes(60), bytes(60))]
)
def test_too_large_without_having_said_so(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(RequestError) as refused:
        read(messages(*chunks))
    assert (refused.value.status, refused.value.close) == (413, True)


@pytest.mark.parametrize(("declared", "close"), [(LIMIT + 1, False), (LIMIT * 9, True)])
def test_too_large_by_its_own_word_is_not_read(declared: int, close: bool) -> None:
    async def receive() -> Mapping[str, Any]:
        raise AssertionError("the body was read")

    with pytest.raises(RequestError) as refused:
        read(receive, {b"content-length": str(declared).encode()})
    assert (refused.value.status, refused.value.close) == (413, close)


@pytest.mark.parametrize("chunks", [(None,), (b"a", None), (b"a", b"b", None)])
def test_a_client_that_leaves(chunks: tuple[bytes | None, ...]) -> None:
    with pytest.raises(body.ClientGone):
        read(messages(*chunks))


def test_a_client_that_dawdles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.05)
    first = True

    async def receive() -> Mapping[str, Any]:
        nonlocal first
        if not first:
            await asyncio.sleep(60)
        first = False
        return {"type": "http.request", "body": b"a", "more_body": True}

    with pytest.raises(RequestError) as refused:
        read(receive)
    assert refused.value.status == 408
