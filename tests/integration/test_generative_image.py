"""A text model from release.yaml to a container without a way out, driven by curl and OpenAI's
client: it answers, streams, says what is wrong, drains, refuses what is too much, and survives its
worker. And what text generation adds to an image."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from engines import docker_engine, missing
from text_folder import save_text_folder
from text_images import (
    Built,
    build_text,
    client,
    container,
    curl,
    metric,
    served_without_network,
    worker,
)

from packager.running import Server

pytestmark = [pytest.mark.engine, pytest.mark.network]

MESSAGES: Any = [{"role": "user", "content": "the quick brown fox"}]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_text(tmp_path_factory.mktemp("chat"), save_text_folder, "slots: 2")


@pytest.fixture
def served(built: Built) -> Iterator[Server]:
    docker_engine().close()
    with served_without_network(built) as server:
        yield server


def test_curl_and_openais_client_hear_the_same(served: Server) -> None:
    asked: Any = {"model": "chat", "messages": MESSAGES, "max_tokens": 24, "temperature": 0}
    lines = curl(served, "/v1/chat/completions", {**asked, "stream": True}).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    streamed = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert all(event["ai_generated"].endswith("eu/ai-act-marking") for event in events)
    with client(served) as api:
        whole = api.chat.completions.create(**asked)
        pieces = api.chat.completions.create(**asked, stream=True)
        again = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert streamed == again == whole.choices[0].message.content
        assert [one.id for one in api.models.list()] == ["chat"]
        with pytest.raises(openai.BadRequestError, match="holds 256 tokens"):
            api.chat.completions.create(**{**asked, "max_tokens": 5000})
        with pytest.raises(openai.BadRequestError, match="without the library for grammars"):
            api.chat.completions.create(**asked, response_format={"type": "json_object"})


def test_too_much_is_429_and_draining_finishes_what_was_accepted(served: Server) -> None:
    def one(together: threading.Barrier) -> tuple[int, str | None]:
        with client(served) as api:
            together.wait(60)  # to make a client takes longer than an answer
            try:
                answer = api.completions.create(
                    model="chat", prompt="a", max_tokens=240, temperature=1,
                    extra_body={"ignore_eos": True},
                )  # fmt: skip
            except openai.APIStatusError as error:
                return error.status_code, error.response.headers.get("retry-after")
            return 200, answer.choices[0].finish_reason

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, [threading.Barrier(16)] * 16))
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 429}
        assert all(more for status, more in answers if status == 429), "Retry-After is told"
        begun = threading.Barrier(3)
        last = [pool.submit(one, begun) for _ in range(2)]
        begun.wait(60)
        time.sleep(0.05)
        subprocess.run(["docker", "stop", container(served)], check=True, capture_output=True)
        assert [future.result() for future in last] == [(200, "length")] * 2


def test_a_client_that_leaves_frees_its_slot(served: Server) -> None:
    """curl is killed in the middle of its stream; nothing is said to nobody afterwards."""
    body = {"model": "chat", "prompt": "a", "n": 4, "max_tokens": 240, "temperature": 1}
    asked = json.dumps({**body, "stream": True, "ignore_eos": True})
    for _ in range(5):
        with subprocess.Popen(
            ["curl", "-sN", f"{served.url}/v1/completions", "-d", asked], stdout=subprocess.PIPE
        ) as leaver:
            assert leaver.stdout
            assert leaver.stdout.readline().startswith(b"data: {")
            leaver.kill()
        time.sleep(0.5)  # the queue is as long as one such request
    deadline = time.monotonic() + 15
    while metric(served, "packager_generations_active"):
        assert time.monotonic() < deadline, "a slot stays in use"
        time.sleep(0.1)
    time.sleep(1.2)  # the worker tells its figures once a second
    said = metric(served, "packager_generated_tokens_total")
    time.sleep(1.2)
    assert metric(served, "packager_generated_tokens_total") == said
    assert said < 5 * 4 * 240


def test_a_killed_worker_is_told_to_whoever_waits_and_replaced(served: Server) -> None:
    if os.geteuid() != 0:
        missing("the worker is another user's process")
    owner = worker(served)
    with client(served) as api:
        stream = api.completions.create(
            model="chat", prompt="a", max_tokens=240, temperature=1, stream=True, n=4,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        pieces = iter(stream)
        next(pieces)
        os.kill(owner, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="stopped while it answered"):
            for _ in pieces:
                pass
        deadline = time.monotonic() + 60
        while True:
            try:
                assert api.completions.create(model="chat", prompt="a", max_tokens=2)
                break
            except openai.APIStatusError as error:
                assert error.status_code == 503
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_generation_adds_less_than_fifteen_percent_to_an_image(built: Built) -> None:
    """Compressed, weights aside: the same image without the wheels that only text needs."""
    (record,) = (built.folder / "evidence/images").glob("*.json")
    sizes = {kind: one["size"] for kind, one in json.loads(record.read_bytes())["layers"].items()}
    whole = sum(size for kind, size in sizes.items() if kind != "model")
    lock = json.loads((built.folder / "evidence/packager.lock").read_bytes())
    (environment,) = lock["environments"]
    text = {"jinja2", "markupsafe", "tokenizers"}
    added = sum(one["size"] for one in environment["wheels"] if one["name"] in text)
    assert {one["name"] for one in environment["wheels"]} >= text
    assert whole / (whole - added) <= 1.15
