"""Short inferences of one client alone are run in the event loop, and of nobody else."""

from __future__ import annotations

import asyncio
import socket

import numpy as np

from packager.runtime.event_loop import EventLoop
from packager.runtime.solitude import Solitude
from packager.runtime.waiting import Job


def _job(width: int = 4) -> Job:
    return Job({"x": np.ones((1, width), np.float32)}, ("y",), lambda _: None)


def _familiar(seconds: float = 0.001) -> Solitude:
    """One that has seen enough requests of one client."""
    solitude = Solitude()
    solitude.took(_job(), seconds)
    for _ in range(8):
        assert not solitude.permits(_job(), busy=False)
    return solitude


def test_after_some_requests_that_met_nobody_they_are_run_at_once() -> None:
    assert _familiar().permits(_job(), busy=False)


def test_what_nobody_has_timed_is_not() -> None:
    solitude = Solitude()
    assert not any(solitude.permits(_job(), busy=False) for _ in range(20))


def test_what_takes_long_is_not_and_larger_inputs_might() -> None:
    assert not _familiar(0.01).permits(_job(), busy=False)
    assert not _familiar().permits(_job(width=5), busy=False)


def test_texts_are_not_since_their_length_is_not_known() -> None:
    solitude = _familiar()
    text = Job({"x": np.array([["a"]], dtype=object)}, ("y",), lambda _: None)
    solitude.took(text, 0.0001)
    assert not solitude.permits(text, busy=False)


def test_a_request_that_is_being_run_ends_it_for_a_while() -> None:
    solitude = _familiar()
    assert not solitude.permits(_job(), busy=True)
    assert [solitude.permits(_job(), busy=False) for _ in range(9)] == [False] * 8 + [True]


def test_somebody_who_waited_ends_it_for_long() -> None:
    solitude = _familiar()
    solitude.ends()
    found = [solitude.permits(_job(), busy=False) for _ in range(257)]
    assert found == [False] * 256 + [True]


def test_the_loop_says_whether_somebody_waits() -> None:
    async def run() -> list[bool]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EventLoop)
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            arrived = asyncio.Event()

            def read() -> None:
                here.recv(1)
                arrived.set()

            loop.add_reader(here, read)
            found = [loop.is_awaited()]
            there.send(b"x")
            found.append(loop.is_awaited())
            await arrived.wait()
            found.append(loop.is_awaited())
            loop.remove_reader(here)
        return found

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        assert runner.run(run()) == [False, True, False]
