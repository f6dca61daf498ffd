"""A session with fixed sizes of batch is run with those alone, and callers do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from packager.runtime.batching_settings import Batching
from packager.runtime.scheduler import Scheduler
from packager.runtime.session import Session
from packager.runtime.waiting import Job, Result


class Doubling:
    """A session that doubles, and remembers how many rows it was given."""

    settings = SimpleNamespace(name="doubling")

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes
        self.rows: list[int] = []

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
        self.rows.append(len(inputs["x"]))
        return dict.fromkeys(outputs, inputs["x"] * 2)


@pytest.mark.parametrize("inline_rows", [0, 64])
@pytest.mark.parametrize("rows", [1, 3, 8, 9, 20])
def test_every_run_has_the_same_rows(rows: int, inline_rows: int) -> None:
    session = Doubling(8)
    settings = Batching(max_batch_size=8, inline_rows=inline_rows)
    x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    (answer,) = asyncio.run(_asked(session, settings, [x]))
    assert np.array_equal(answer, x * 2)
    assert set(session.rows) == {8}


def test_the_next_size_is_taken_and_what_is_larger_goes_in_pieces() -> None:
    session = Doubling(2, 4)
    for rows, run in ((1, [2]), (2, [2]), (3, [4]), (5, [4, 2]), (8, [4, 4])):
        session.rows.clear()
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        (answer,) = asyncio.run(_asked(session, Batching(max_batch_size=8), [x]))
        assert np.array_equal(answer, x * 2)
        assert session.rows == run


def test_requests_that_go_together_are_filled_up_as_one() -> None:
    session = Doubling(8)
    asked = [np.full((rows, 2), rows, np.float32) for rows in (2, 1, 3)]
    answers = asyncio.run(_asked(session, Batching(max_batch_size=8), asked))
    for answer, x in zip(answers, asked, strict=True):
        assert np.array_equal(answer, x * 2)
    assert set(session.rows) == {8}


def test_without_it_nothing_is_added() -> None:
    session = Doubling()
    asyncio.run(_asked(session, Batching(max_batch_size=8), [np.ones((3, 2), np.float32)]))
    assert session.rows == [3]


async def _asked(session: Doubling, settings: Batching, asked: list[Any]) -> list[Any]:
    scheduler = Scheduler(cast(Session, session), settings, 1)
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[Result]] = [loop.create_future() for _ in asked]
    for x, future in zip(asked, waiting, strict=True):
        scheduler.submit(Job({"x": x}, ("y",), future.set_result, rows=len(x)))
    scheduler.start(loop)
    try:
        results = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    finally:
        await asyncio.to_thread(scheduler.stop)
    found = []
    for result in results:
        assert isinstance(result, dict), result
        found.append(result["y"])
    return found
