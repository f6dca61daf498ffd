"""Text served by ONNX Runtime GenAI in a container: the serial generator for a graph that our own
engine does not take, and the batching engine where a release names it.

Both libraries hold a client of a telemetry service, so that their silence is watched on the bridge.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from bridge_watch import BRIDGE, Watch
from bridge_watch import container as on_the_bridge
from engines import docker_engine, missing
from plain_decoder import save_plain_folder
from text_folder import save_library_folder
from text_images import Built, build_text, client, container, curl, metric, served_without_network

from packager.domain.target import TargetName
from packager.launch.client import wait_ready
from packager.progress import SILENT
from packager.running import Server, load

pytestmark = [pytest.mark.engine, pytest.mark.network]

MESSAGES: Any = [{"role": "user", "content": "the quick brown fox"}]
ASKED: Any = {"model": "chat", "messages": MESSAGES, "max_tokens": 24, "temperature": 0}
LONG: Any = {"model": "chat", "prompt": "a", "max_tokens": 240, "extra_body": {"ignore_eos": True}}
KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "genai-generator": (save_plain_folder, "slots: 2"),
    "genai-engine": (save_library_folder, "slots: 2, engine: genai-engine"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def built(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    docker_engine().close()
    lock = tmp_path_factory.getbasetemp() / "genai.lock"
    return build_text(tmp_path_factory.mktemp("chat"), *KINDS[kind], samples=False, lock=lock)


@pytest.fixture(scope="module")
def served(built: Built) -> Iterator[Server]:
    with served_without_network(built) as server:
        yield server


def get(server: Server, path: str) -> Any:
    done = subprocess.run(
        ["curl", "-s", f"{server.url}{path}"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_image_says_who_serves_and_what_it_holds(
    built: Built, served: Server, kind: str
) -> None:
    assert get(served, "/v2")["engines"] == {"chat/1": kind}
    assert get(served, "/v2/health/ready") == {"ready": True, "engines": {"chat/1": kind}}
    assert get(served, "/v2/models/chat")["engine"] == kind
    assert get(served, "/v1/models")["data"][0]["engine"] == kind
    (quality,) = (built.folder / "evidence/quality").glob("*.json")
    assert json.loads(quality.read_bytes())["generation"]["engine"] == kind
    (bill,) = (built.folder / "evidence/sbom").rglob("*.cdx.json")
    rows = {
        (one["name"], one.get("version")) for one in json.loads(bill.read_bytes())["components"]
    }
    assert {("onnxruntime-genai", "0.18.0"), ("onnxruntime", "1.32.0")} <= rows
    (record,) = (built.folder / "evidence/images").glob("*.json")
    told = json.loads(record.read_bytes())["checked"]["telemetry_endpoint_in"]
    assert [path for path in told if path.endswith("libonnxruntime-genai.so")]


def test_a_stream_says_what_the_whole_answer_says(served: Server) -> None:
    lines = curl(served, "/v1/chat/completions", {**ASKED, "stream": True}).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    streamed = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert all(event["ai_generated"].endswith("eu/ai-act-marking") for event in events)
    with client(served) as api:
        whole = api.chat.completions.create(**ASKED)
        pieces = api.chat.completions.create(**ASKED, stream=True)
        again = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert streamed == again == whole.choices[0].message.content
        stop = whole.choices[0].message.content[3:6]
        cut = api.chat.completions.create(**ASKED, stop=[stop])
        assert cut.choices[0].message.content == whole.choices[0].message.content[:3]
        assert cut.choices[0].finish_reason == "stop"


def test_what_the_engine_cannot_do_is_a_400_and_the_rest_is_done(served: Server, kind: str) -> None:
    serial = kind == "genai-generator"
    more: list[dict[str, Any]] = [
        {"logprobs": True},
        {"seed": 3, "temperature": 1.0},
        {"frequency_penalty": 1.0},
        {"logit_bias": {"5": 4.0}},
    ]
    with client(served) as api:
        for one in more:
            asked = {**ASKED, **one}
            if serial:
                first, second = (api.chat.completions.create(**asked) for _ in range(2))
                assert first.choices[0].message.content == second.choices[0].message.content
                assert bool(first.choices[0].logprobs) == ("logprobs" in one)
            else:
                with pytest.raises(openai.BadRequestError, match=next(iter(one))):
                    api.chat.completions.create(**asked)
        assert api.chat.completions.create(**{**ASKED, "temperature": 1.0})


def test_leavers_free_their_places_and_too_much_is_429(served: Server) -> None:
    body = {"model": "chat", "prompt": "a", "n": 2, "max_tokens": 240, "temperature": 1}
    asked = json.dumps({**body, "stream": True, "ignore_eos": True})
    with subprocess.Popen(
        ["curl", "-sN", f"{served.url}/v1/completions", "-d", asked], stdout=subprocess.PIPE
    ) as leaver:
        assert leaver.stdout
        assert leaver.stdout.readline().startswith(b"data: {")
        leaver.kill()

    together = threading.Barrier(12)

    def one(_: int) -> int:
        with client(served) as api:
            together.wait(60)  # making a client takes longer than an answer of so small a model
            try:
                return len(api.completions.create(**LONG, temperature=0).choices) and 200
            except openai.APIStatusError as error:
                return error.status_code

    time.sleep(0.5)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert set(pool.map(one, range(12))) == {200, 429}
    deadline = time.monotonic() + 15
    while metric(served, "packager_generations_active"):
        assert time.monotonic() < deadline, "a place stays in use"
        time.sleep(0.1)


def test_draining_finishes_what_was_accepted(served: Server) -> None:
    def one() -> str:
        with client(served) as api:
            return api.completions.create(**LONG, temperature=0).choices[0].finish_reason

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        last = [pool.submit(one) for _ in range(2)]
        time.sleep(0.1)
        subprocess.run(["docker", "stop", container(served)], check=True, capture_output=True)
        assert [future.result() for future in last] == ["length"] * 2


@pytest.mark.parametrize("kind", ["genai-generator"], indirect=True, scope="module")
def test_nothing_leaves_the_container_though_it_could(built: Built) -> None:
    if os.geteuid() != 0 or not Path(f"/sys/class/net/{BRIDGE}").exists():
        missing(f"watching {BRIDGE} needs root and Docker's default bridge")
    target = TargetName.parse("de/x86-64-v3/compose")
    (image,) = load(built.folder, built.trust, target, SILENT).values()
    watch = Watch()
    with on_the_bridge(image) as shown:
        network = shown["NetworkSettings"]["Networks"]["bridge"]
        url = f"http://{network['IPAddress']}:8080"
        wait_ready(url, 60, lambda: True)
        for _ in range(20):
            body = json.dumps({**ASKED, "max_tokens": 4})
            subprocess.run(
                ["curl", "-sf", f"{url}/v1/chat/completions", "-d", body],
                check=True,
                capture_output=True,
            )
        time.sleep(5)  # the client in the libraries sends in batches, seconds apart
        subprocess.run(["docker", "stop", shown["Id"]], check=True, capture_output=True)
    attempts, answers = watch.sent_by(network["IPAddress"], network["MacAddress"])
    assert attempts == []
    assert answers > 20, "the watch saw the server answer"
