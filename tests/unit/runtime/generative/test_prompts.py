"""What a model is asked: nothing is read that no slot could hold, and long texts are read aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from tiny_decoder import TinyChat

from packager.runtime import configuration
from packager.runtime.errors import RequestError
from packager.runtime.generative.asked import Asked, read_chat, read_completion
from packager.runtime.generative.prompts import LONG_BODY, Prompts


class _Counting(ThreadPoolExecutor):
    """A pool that counts what it is given."""

    given = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given += 1
        return super().submit(fn, *args, **kwargs)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> TinyChat:
    return TinyChat.make(tmp_path_factory.mktemp("chat"))


def completion(prompt: Any, **more: Any) -> Asked:
    return read_completion(orjson.dumps({"model": "chat", "prompt": prompt, **more}))


def read(chat: TinyChat, *asked: Asked) -> tuple[list[Any], int]:
    """What each request is read as, and how many were read in a thread."""
    path = Path(chat.folder / "server.json")
    (settings,) = configuration.load(path).generative
    with _Counting(1) as helpers:
        prompts = Prompts(path.parent, settings, helpers)

        async def all_of_them() -> list[Any]:
            reading = [prompts.read(one) for one in asked]
            return await asyncio.gather(*reading, return_exceptions=True)

        return asyncio.run(all_of_them()), helpers.given


def test_a_long_body_is_read_aside_and_says_the_same(chat: TinyChat) -> None:
    padded = "x" * LONG_BODY
    short, long = completion("the quick fox"), completion("the quick fox", user=padded)
    (plain, aside), given = read(chat, short, long)
    assert (plain, given) == (aside, 1)
    assert len(plain[0]) > 1


def test_what_no_slot_could_hold_is_refused_by_its_characters(chat: TinyChat) -> None:
    ((error,), given) = read(chat, completion("the quick fox " * 100_000))
    assert isinstance(error, RequestError)
    assert (error.status, given) == (400, 1)
    assert "the prompt has 1400000 characters, and no 256 tokens have more than" in str(error)


def test_each_text_of_a_list_is_a_prompt(chat: TinyChat) -> None:
    ((both, one), _) = read(chat, completion(["the quick", "fox"]), completion("fox"))
    assert (len(both), both[1:]) == (2, one)


def test_more_messages_than_tokens_are_not_rendered(chat: TinyChat) -> None:
    messages = [{"role": "user", "content": "a"}] * 100_000
    body = orjson.dumps({"model": "chat", "messages": messages})
    ((error,), given) = read(chat, read_chat(body))
    assert str(error) == "messages: 100000 are more than the 256 tokens that this model holds"
    assert given == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (completion([99_999]), "prompt: a token is not in the vocabulary"),
        (completion("a", logit_bias={"99999": 1}), "logit_bias: a token is not in the vocabulary"),
    ],
    ids=["prompt", "logit_bias"],
)
def test_tokens_that_the_model_does_not_have(chat: TinyChat, asked: Asked, told: str) -> None:
    ((error,), _) = read(chat, asked)
    assert str(error) == told
