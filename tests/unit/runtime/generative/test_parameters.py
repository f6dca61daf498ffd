"""Every parameter that OpenAI's own client can send is obeyed, or refused by name; none is ignored.

The lists are the client's, so that a parameter which OpenAI adds is looked at by this test.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import completion_create_params as completion
from openai.types.chat import completion_create_params as chat
from runtime_process import RuntimeProcess
from tiny_decoder import TinyChat

SHARED: dict[str, Any] = {
    "max_tokens": 3,
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 2,
    "stop": ["zzz"],
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logit_bias": {"7": 5},
    "user": "somebody",
    "stream_options": {"include_usage": True},
}
OWN: dict[str, Any] = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "ignore_eos": True}
CHAT: dict[str, Any] = {
    **SHARED,
    **OWN,
    "messages": [{"role": "user", "content": "the fox"}],
    "model": "chat",
    "max_completion_tokens": 3,
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "text"},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "auto",
}
TEXT: dict[str, Any] = {
    **SHARED,
    **OWN,
    "model": "chat",
    "prompt": "the fox",
    "logprobs": 2,
    "echo": False,
}
NEEDS = {"top_logprobs": {"logprobs": True}, "stream_options": {"stream": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    made = TinyChat.make(tmp_path_factory.mktemp("chat"))
    with RuntimeProcess(made.folder / "server.json") as process:
        yield process.wait_ready()


def ask(process: RuntimeProcess, path: str, body: Any, key: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    data = answer.read().decode()
    connection.close()
    return answer.status, data


def names(module: Any) -> list[str]:
    return sorted(module.CompletionCreateParamsBase.__annotations__)


@pytest.mark.parametrize(
    ("path", "known", "name"),
    [("/v1/chat/completions", CHAT, name) for name in sorted({*names(chat), *OWN})]
    + [("/v1/completions", TEXT, name) for name in sorted({*names(completion), *OWN})],
)
def test_a_parameter_is_obeyed_or_refused_by_name(
    server: RuntimeProcess, path: str, known: dict[str, Any], name: str
) -> None:
    least = {key: known[key] for key in ("model", "messages", "prompt") if key in known}
    if name in known:
        body = {**least, "max_tokens": 3, name: known[name], **NEEDS.get(name, {})}
        status, data = ask(server, path, body)
        assert status == 200, data
    else:
        status, data = ask(server, path, {**least, name: "x"})
        assert status == 400
        assert name in json.loads(data)["error"]["message"]


def test_what_is_drawn_follows_its_parameters(server: RuntimeProcess) -> None:
    def texts(**more: Any) -> set[str]:
        body = {"model": "chat", "prompt": "the fox", "max_tokens": 8, "temperature": 1.5}
        found = set()
        for seed in range(6):
            status, data = ask(server, "/v1/completions", {**body, "seed": seed, **more})
            assert status == 200
            found.add(json.loads(data)["choices"][0]["text"])
        return found

    greedy = texts(temperature=0)
    assert len(greedy) == 1
    assert len(texts()) > 3
    for narrow in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}):
        assert texts(**narrow) == greedy, narrow
    assert texts(temperature=0, max_tokens=100) != texts(
        temperature=0, max_tokens=100, repetition_penalty=5.0
    )
    (said,) = texts(temperature=0, logit_bias={"42": 100})
    (once,) = texts(temperature=0, logit_bias={"42": 100}, max_tokens=1)
    assert said == 8 * once


def test_the_generate_extension_streams_what_it_says_whole(server: RuntimeProcess) -> None:
    body = {"text_input": "the fox", "parameters": {"max_tokens": 12, "temperature": 0}}
    status, data = ask(server, "/v2/models/chat/generate", body)
    assert status == 200
    whole = json.loads(data)["text_output"]
    status, data = ask(server, "/v2/models/chat/generate_stream", body)
    assert status == 200
    events = [json.loads(line[6:]) for line in data.split("\n\n") if line.startswith("data: ")]
    assert len(events) > 1
    assert "".join(event["text_output"] for event in events) == whole
    for name, value in (("beams", 2), ("n", 2), ("logprobs", 1)):
        odd = {"text_input": "a", "parameters": {name: value}}
        for route in ("generate", "generate_stream"):
            status, data = ask(server, f"/v2/models/chat/{route}", odd)
            assert status == 400
            assert name in data


def test_tenants_do_not_share_what_was_read(tmp_path: Path) -> None:
    made = TinyChat.make(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text(
        "".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("one", "two"))
    )
    prompt = [5 + number % 200 for number in range(60)]
    body = {"model": "chat", "prompt": prompt, "max_tokens": 2, "temperature": 0}
    with RuntimeProcess(
        made.folder / "server.json", environment={"PACKAGER_API_KEYS_FILE": str(keys)}
    ) as process:
        process.wait_ready()

        def cached(key: str) -> int:
            status, data = ask(process, "/v1/completions", body, key)
            assert status == 200
            count: int = json.loads(data)["usage"]["prompt_tokens_details"]["cached_tokens"]
            return count

        assert [cached("one"), cached("one")] == [0, 59]
        assert [cached("two"), cached("two")] == [0, 59]
        assert ask(process, "/v1/completions", body)[0] == 401


@pytest.mark.parametrize("depth", [200, 900])
@pytest.mark.parametrize("where", ["schema", "tool"])
def test_what_is_nested_deeply_is_no_fault_of_the_server(
    server: RuntimeProcess, where: str, depth: int
) -> None:
    """What is read may be deeper than what can be written again."""
    deep = '{"items":' * depth + "{}" + "}" * depth
    fields = {
        "schema": '"response_format": {"type": "json_schema", "json_schema": '
        f'{{"name": "deep", "schema": {deep}}}}}',
        "tool": '"tools": [{"type": "function", "function": {"name": "f", "parameters": '
        f"{deep}}}}}]",
    }
    body = (
        '{"model": "chat", "max_tokens": 3, "messages": [{"role": "user", "content": "fox"}], '
        f"{fields[where]}}}"
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", body)
    answer = connection.getresponse()
    told = answer.read().decode()
    connection.close()
    assert answer.status in (200, 400), told
