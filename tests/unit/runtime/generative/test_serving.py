"""The whole server with a text model: OpenAI's client, streams, cancels, deaths, drains."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from runtime_process import RuntimeProcess
from tiny_decoder import TinyChat

from packager.runtime.generative.constraints import AVAILABLE

MESSAGES: Any = [{"role": "user", "content": "the quick brown fox"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    chat = TinyChat.make(tmp_path_factory.mktemp("chat"), marker="true")
    with RuntimeProcess(chat.folder / "server.json") as process:
        yield process.wait_ready()


CLIENTS: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """What a test leaves open would be told as a leak of another one."""
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def client(process: RuntimeProcess) -> openai.OpenAI:
    base = f"http://127.0.0.1:{process.port}/v1"
    CLIENTS.append(openai.OpenAI(base_url=base, api_key="none", max_retries=0, timeout=60))
    return CLIENTS[-1]


def ask(process: RuntimeProcess, path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, json.loads(data), {k.lower(): v for k, v in answer.getheaders()}


def metric(process: RuntimeProcess, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_a_stream_says_what_the_whole_answer_says(server: RuntimeProcess) -> None:
    api = client(server)
    for seed in range(4):
        asked: Any = {
            "model": "chat",
            "messages": MESSAGES,
            "max_tokens": 40,
            "temperature": 0.8,
            "seed": seed,
        }
        whole = api.chat.completions.create(**asked)
        pieces = list(
            api.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        assert text == whole.choices[0].message.content
        assert pieces[0].choices[0].delta.role == "assistant"
        assert pieces[-1].usage is not None
        assert whole.usage is not None
        assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
        assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_stop_strings_across_tokens_never_leak(server: RuntimeProcess) -> None:
    api = client(server)
    asked: Any = {"model": "chat", "prompt": "the fox", "max_tokens": 40, "temperature": 0}
    text = api.completions.create(**asked).choices[0].text
    chance = random.Random(1)
    for _ in range(6):
        at = chance.randrange(2, len(text) - 5)
        stop = text[at : at + 4]
        stopped = api.completions.create(**asked, stop=[stop])
        streamed = "".join(
            p.choices[0].text for p in api.completions.create(**asked, stop=[stop], stream=True)
        )
        assert stopped.choices[0].text == streamed == text[: text.find(stop)]
        assert stopped.choices[0].finish_reason == "stop"


def test_many_at_once_answer_as_if_alone_and_leave_nothing_behind(server: RuntimeProcess) -> None:
    api = client(server)

    def one(seed: int) -> str:
        asked = api.completions.create(
            model="chat", prompt=f"quick {seed % 5}", max_tokens=12, temperature=0.9, seed=seed
        )
        return asked.choices[0].text

    seeds = list(range(24))
    alone = [one(seed) for seed in seeds]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert list(pool.map(one, seeds)) == alone
    assert metric(server, "packager_generations_active") == 0


def test_a_client_that_leaves_frees_its_slot(server: RuntimeProcess) -> None:
    for _ in range(6):
        stream = client(server).completions.create(
            model="chat", prompt="a", max_tokens=240, temperature=1, stream=True,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        next(iter(stream))
        stream.close()
    deadline = time.monotonic() + 10
    while metric(server, "packager_generations_active") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert metric(server, "packager_generations_active") == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_tokens": 4000}, "holds 256 tokens"),
        ({"messages": []}, "messages"),
        ({"messages": MESSAGES * 300}, "messages: 300 are more than the 256 tokens"),
        ({"messages": [{"role": "user", "content": "a " * 500_000}]}, "1000"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "type text"),
        ({"temperature": 3}, "temperature"),
        ({"parallel_tool_calls": True}, "not supported here"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"stop": [""]}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias: a token is not in the vocabulary"),
        ({"logit_bias": {"²": 1}}, "logit_bias"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"guided_regex": "a" * 131_072}, "guided_regex: must have at most 131072 bytes"),
        ({"stream_options": {"include_usage": True}}, "needs stream"),
        ({"top_logprobs": 3}, "needs logprobs"),
        ({"max_tokens": True}, "max_tokens"),
    ],
)
def test_what_is_not_supported_is_said(server: RuntimeProcess, changes: Any, told: str) -> None:
    body = {"model": "chat", "messages": MESSAGES, "max_tokens": 4, **changes}
    status, answer, _ = ask(server, "/v1/chat/completions", body)
    assert status == 400
    assert told in answer["error"]["message"]
    assert set(answer["error"]) == {"message", "type", "param", "code"}


def test_an_unknown_model_and_a_body_that_is_no_json(server: RuntimeProcess) -> None:
    assert ask(server, "/v1/completions", {"model": "none", "prompt": "x"})[0] == 404
    assert ask(server, "/v1/completions", "x")[0] == 400
    with pytest.raises(openai.NotFoundError):
        client(server).models.retrieve("none")


def test_what_a_machine_wrote_is_marked(server: RuntimeProcess) -> None:
    body = {"model": "chat", "messages": MESSAGES, "max_tokens": 2}
    _, answer, headers = ask(server, "/v1/chat/completions", body)
    assert answer["ai_generated"] == "true"
    assert headers["x-ai-generated"] == "true"


def test_the_generate_extension(server: RuntimeProcess) -> None:
    body = {"text_input": "the fox", "parameters": {"max_tokens": 6}}
    status, answer, _ = ask(server, "/v2/models/chat/generate", body)
    assert status == 200
    assert answer["model_name"] == "chat"
    assert answer["text_output"]


@pytest.mark.skipif(not AVAILABLE, reason="llguidance is not installed")
def test_an_answer_follows_its_grammar(server: RuntimeProcess) -> None:
    answer = client(server).completions.create(
        model="chat", prompt="x", max_tokens=30, temperature=0,
        extra_body={"guided_regex": "(yes|no), (one|two|three)"},
    )  # fmt: skip
    assert answer.choices[0].text in {
        f"{one}, {other}" for one in ("yes", "no") for other in ("one", "two", "three")
    }
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.skipif(not AVAILABLE, reason="llguidance is not installed")
def test_a_grammar_without_end_is_refused_and_holds_up_nobody(server: RuntimeProcess) -> None:
    """Twenty patterns that must all hold: three minutes of compiling."""
    patterns = [{"type": "string", "pattern": f".*{letter}.*"} for letter in "abcdefghijklmnopqrst"]
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"allOf": patterns}}}
    body = {"model": "chat", "messages": MESSAGES, "response_format": wanted}
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        asked = other.submit(ask, server, "/v1/chat/completions", body)
        while not asked.done():
            began = time.monotonic()
            api = client(server)
            api.completions.create(model="chat", prompt="x", max_tokens=3)
            assert time.monotonic() - began < 5
        status, told, _ = asked.result()
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")
    assert "takes too long to compile" in told["error"]["message"]


def test_no_word_of_a_conversation_is_in_the_log(tmp_path: Path) -> None:
    chat = TinyChat.make(tmp_path)
    with RuntimeProcess(chat.folder / "server.json") as process:
        process.wait_ready()
        secret: Any = [{"role": "user", "content": "SECRETWORD brown"}]
        client(process).chat.completions.create(model="chat", messages=secret, max_tokens=3)
        process.stop()
        assert "SECRETWORD" not in json.dumps(process.log)
        assert "SECRETWORD" not in process.stderr()


def test_who_dies_leaves_no_picture_of_what_was_said(tmp_path: Path) -> None:
    """Dumps are allowed by whoever starts the server, and forbidden by the server itself."""
    chat = TinyChat.make(tmp_path / "image")
    room = tmp_path / "room"
    room.mkdir()
    wrapper = ("sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh")
    with RuntimeProcess(chat.folder / "server.json", cwd=room, wrapper=wrapper) as process:
        process.wait_ready()
        secret: Any = [{"role": "user", "content": "SECRETWORD brown"}]
        client(process).chat.completions.create(model="chat", messages=secret, max_tokens=3)
        worker = worker_of(process.process.pid)
        for pid in (process.process.pid, worker):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0", limits)
        os.kill(worker, signal.SIGABRT)
        assert process.wait_event("worker_died")["why"] == "exit status -6"
        process.signal(signal.SIGABRT)
        assert process.wait() == -signal.SIGABRT
        assert list(room.iterdir()) == []
        assert "SECRETWORD" not in json.dumps(process.log) + process.stderr()


def test_a_killed_worker_is_told_and_replaced(tmp_path: Path) -> None:
    chat = TinyChat.make(tmp_path)
    with RuntimeProcess(chat.folder / "server.json") as process:
        process.wait_ready()
        worker = worker_of(process.process.pid)
        stream = client(process).completions.create(
            model="chat", prompt="a", max_tokens=240, temperature=1, stream=True, n=16,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        pieces = iter(stream)
        next(pieces)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(openai.APIError):
            for _ in pieces:
                pass
        process.wait_event("worker_died")
        deadline = time.monotonic() + 30
        while not is_ready(process):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client(process).completions.create(model="chat", prompt="a", max_tokens=2)
        assert data_limit(process.process.pid).isdecimal()
        assert data_limit(worker_of(process.process.pid)) == "unlimited"
        assert process.stop() == 0


def is_ready(process: RuntimeProcess) -> bool:
    connection = process.client()
    try:
        return connection.get("/v2/health/ready")[0] == 200
    finally:
        connection.close()


def data_limit(process: int) -> str:
    lines = Path(f"/proc/{process}/limits").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("Max data size")]
    return line.split()[3]


def worker_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def test_a_full_queue_is_a_status_and_draining_loses_nobody(tmp_path: Path) -> None:
    chat = TinyChat.make(tmp_path, slots=1, max_queue_size=2, slot_tokens=256)
    with RuntimeProcess(chat.folder / "server.json") as process:
        process.wait_ready()

        def one(number: int) -> int:
            body = {"model": "chat", "prompt": "a", "max_tokens": 150, "ignore_eos": True}
            return ask(process, "/v1/completions", body)[0]

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            waiting = [pool.submit(one, number) for number in range(12)]
            statuses = [future.result() for future in waiting]
            assert statuses.count(200) >= 3
            assert set(statuses) == {200, 429}
            last = [pool.submit(one, number) for number in range(2)]
            time.sleep(0.2)
            process.signal()
            assert [future.result() for future in last] == [200, 200]
        assert process.wait() == 0


def test_a_queue_that_one_caller_filled_has_room_for_another(tmp_path: Path) -> None:
    """Callers without keys are told apart by their addresses."""
    chat = TinyChat.make(tmp_path, slots=1, max_queue_size=3, slot_tokens=256)
    with RuntimeProcess(chat.folder / "server.json") as process:
        process.wait_ready()
        over = threading.Event()

        def flood(_: int) -> list[tuple[int, str]]:
            told = []
            while not over.is_set():
                status, answer = ask_from("127.0.0.1", process, 120)
                told.append((status, answer.get("error", {}).get("message", "")))
            return told

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            flooding = [pool.submit(flood, number) for number in range(8)]
            try:
                while metric(process, "packager_generations_active") == 0:
                    time.sleep(0.05)
                assert [ask_from("127.0.0.2", process, 2)[0] for _ in range(3)] == [200] * 3
            finally:
                over.set()
            told = {one for future in flooding for one in future.result()}
    assert {status for status, _ in told} == {200, 429}
    assert (429, "the queue is full, and most of it is yours; try again") in told


def ask_from(address: str, process: RuntimeProcess, tokens: int) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", process.port, timeout=60, source_address=(address, 0)
    )
    body = {"model": "chat", "prompt": "a", "max_tokens": tokens, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    status, answer = response.status, json.loads(response.read())
    connection.close()
    return status, answer


def test_other_bytes_are_refused_at_the_start(tmp_path: Path) -> None:
    chat = TinyChat.make(tmp_path)
    tokenizer = chat.folder / "models/chat/1/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    with RuntimeProcess(chat.folder / "server.json") as process:
        assert process.process.wait(60) == 65
        assert "tokenizer.json" in process.stderr()


def test_another_golden_answer_is_refused_at_the_start(tmp_path: Path) -> None:
    chat = TinyChat.make(tmp_path)
    golden = chat.folder / "models/chat/1/golden.json"
    golden.write_text(json.dumps({"cases": [{"prompt": [5, 6], "answer": [1, 1, 1]}]}))
    chat.entry["golden"] = {"path": "models/chat/1/golden.json"}
    chat.write()
    with RuntimeProcess(chat.folder / "server.json") as process:
        assert process.process.wait(60) == 65
        assert "golden" in process.stderr()
