"""A grammar that takes long to compile holds up everybody's answers: it is tried beside them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_decoder import TinyChat

from packager.runtime import configuration
from packager.runtime.errors import RequestError
from packager.runtime.generative.constraints import AVAILABLE
from packager.runtime.generative.trials import MOST_BYTES, Trials

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="llguidance is not installed")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyChat.make(tmp_path_factory.mktemp("chat")).folder / "server.json"


def run(chat: Path, what: Callable[[Trials], Awaitable[None]]) -> None:
    (settings,) = configuration.load(chat).generative
    trials = Trials(chat, settings)

    async def whole() -> None:
        try:
            await what(trials)
        finally:
            await trials.stop()

    asyncio.run(whole())


def schema(**told: Any) -> dict[str, Any]:
    return {"json_schema": told}


LETTERS = [{"type": "string", "pattern": f".*{letter}.*"} for letter in "abcdefghijklmnopqrst"]
LONG: list[dict[str, Any]] = [
    schema(allOf=LETTERS),
    schema(multipleOf=999_983),
    schema(patternProperties={f"^x{number}[a-z]+$": {} for number in range(600)}),
    {"regex": "(a{1000}){1000}"},
]
USUAL: list[dict[str, Any]] = [
    {"json_object": True},
    {"regex": "(yes|no), [a-z]+"},
    schema(multipleOf=0.01),
    schema(enum=[f"word {number}" for number in range(5000)]),
    schema(properties={f"p{number}": {"type": "string"} for number in range(500)}),
    schema(type="string", format="uri", maxLength=2000),
    schema(type="objekt"),  # what is wrong with it, the worker says
]


def test_what_takes_long_is_refused_soon_and_what_people_write_is_not(chat: Path) -> None:
    async def both(trials: Trials) -> None:
        for grammar in USUAL:
            await trials.require_bearable(grammar)
        for grammar in LONG:
            with pytest.raises(RequestError, match="takes too long to compile") as refused:
                await trials.require_bearable(grammar)
            assert refused.value.status == 400
        # Known by now, both ways.
        began = time.perf_counter()
        await trials.require_bearable(USUAL[0])
        with pytest.raises(RequestError):
            await trials.require_bearable(LONG[0])
        assert time.perf_counter() - began < 0.2

    began = time.perf_counter()
    run(chat, both)
    assert time.perf_counter() - began < 60


def test_what_is_too_large_or_too_deep_is_not_even_tried(chat: Path) -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"not": deep}

    async def refused(trials: Trials) -> None:
        for grammar in ({"regex": "a" * MOST_BYTES}, schema(allOf=[deep])):
            with pytest.raises(RequestError) as caught:
                await trials.require_bearable(grammar)
            assert caught.value.status == 400
        assert trials._process is None

    run(chat, refused)


def test_whoever_leaves_in_the_middle_spoils_nobodys_answer(chat: Path) -> None:
    async def left(trials: Trials) -> None:
        asked = asyncio.ensure_future(trials.require_bearable(LONG[0]))
        await asyncio.sleep(0.05)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await trials.require_bearable(USUAL[1])
        with pytest.raises(RequestError, match="too long"):
            await trials.require_bearable(LONG[0])

    run(chat, left)


def test_when_it_dies_another_one_is_begun(chat: Path) -> None:
    async def killed(trials: Trials) -> None:
        await trials.require_bearable(USUAL[0])
        assert trials._process is not None
        os.kill(trials._process.pid, signal.SIGKILL)
        with pytest.raises(RequestError) as caught:
            await trials.require_bearable(USUAL[1])
        assert caught.value.status == 503
        await trials.require_bearable(USUAL[1])

    run(chat, killed)
