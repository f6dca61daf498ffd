"""Batches in a real server: the right rows to the right callers, whatever else goes wrong."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_process import Client, RuntimeProcess
from tiny_models import (
    RuntimeFolder,
    classifier,
    classifier_answer,
    lookup,
    relative,
    spinner,
    tensor,
)

X = [tensor("x", "FP32", [-1, 4])]
Y = [tensor("y", "FP32", [-1, 4])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier(golden=golden())["batching"] = {"max_batch_size": 8, "instances": 2}
    x = np.ones((1, 4), np.float32)
    slow = folder.add("slow", spinner(3000), X, Y, golden={"input.x": x, "output.y": x})
    slow["batching"] = {"max_batch_size": 8}
    table = folder.add(
        "table",
        lookup(),
        [tensor("id", "INT64", [-1])],
        [tensor("row", "FP32", [-1, 2])],
        golden={
            "input.id": np.array([2, 0]),
            "output.row": np.array([[4, 5], [0, 1]], np.float32),
        },
    )
    table["batching"] = {"max_batch_size": 8, "max_queue_delay_microseconds": 50_000}
    tiny = folder.add("tiny", classifier(), X, classifier_outputs(), golden=golden())
    tiny["batching"] = {"max_batch_size": 8, "inline_rows": 4}
    filled = folder.add("filled", classifier(), X, classifier_outputs(), golden=golden())
    filled["batching"] = {"max_batch_size": 8, "instances": 2, "fill_up": [2, 8]}
    folder.document["http"]["max_concurrency"] = 256
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


def golden() -> dict[str, np.ndarray]:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores, label = classifier_answer(x)
    return {"input.x": x, "output.scores": scores, "output.label": label}


def classifier_outputs() -> list[dict[str, Any]]:
    return [tensor("scores", "FP32", [-1, 3]), tensor("label", "INT64", [-1])]


def ask(client: Client, model: str, x: np.ndarray, **more: object) -> tuple[int, Any]:
    given = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
    return client.infer(model, {"inputs": [given]} | more)


@pytest.mark.parametrize("model", ["classifier", "tiny", "filled"])
def test_every_caller_gets_its_own_rows(server: RuntimeProcess, model: str) -> None:
    def caller(seed: int) -> None:
        random = np.random.default_rng(seed)
        client = server.client()
        for _ in range(40):
            x = random.normal(size=(int(random.integers(1, 12)), 4)).astype(np.float32)
            wanted = [[], [{"name": "label"}], [{"name": "label"}, {"name": "scores"}]][
                int(random.integers(3))
            ]
            status, answer = ask(client, model, x, outputs=wanted)
            assert status == 200, answer
            scores, label = classifier_answer(x)
            found = {output["name"]: output for output in answer["outputs"]}
            assert set(found) == {entry["name"] for entry in wanted} or not wanted
            assert found["label"]["data"] == label.tolist()
            if "scores" in found:
                assert np.allclose(found["scores"]["data"], scores.ravel(), atol=1e-5)
        client.close()

    with ThreadPoolExecutor(12) as callers:
        list(callers.map(caller, range(12)))


def test_one_wrong_row_harms_no_other(server: RuntimeProcess) -> None:
    def one(row: int) -> tuple[int, Any]:
        client = server.client()
        given = {"name": "id", "datatype": "INT64", "shape": [1], "data": [row]}
        try:
            return client.infer("table", {"inputs": [given]})
        finally:
            client.close()

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(one, [0, 1, 99, 2, 1, 0]))
    assert [status for status, _ in answers] == [200, 200, 400, 200, 200, 200]
    assert answers[3][1]["outputs"][0]["data"] == [4.0, 5.0]


def test_inputs_that_disagree_in_rows_are_refused(tmp_path: Path) -> None:
    from tiny_models import adder

    folder = RuntimeFolder(tmp_path)
    pair = [tensor("a", "FP32", [-1, 2]), tensor("b", "FP32", [-1, 2])]
    two = np.ones((2, 2), np.float32)
    known = {"input.a": two, "input.b": two, "output.sum": two + two}
    added = folder.add("sum", adder(), pair, [tensor("sum", "FP32", [-1, 2])], golden=known)
    added["batching"] = {"max_batch_size": 4}
    with RuntimeProcess(folder.write()) as server:
        client = server.wait_ready().client()
        given = [
            {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
            {"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},
        ]
        status, answer = client.infer("sum", {"inputs": given})
        client.close()
    assert status == 400
    assert "same first dimension" in answer["error"]


def test_what_does_not_answer_by_row_is_never_put_together(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    known = {"input.x": x, "output.y": x / x.max()}
    folder.add("relative", relative(), X, Y, golden=known)["batching"] = {"max_batch_size": 4}
    with RuntimeProcess(folder.write()) as server:
        assert server.wait_event("batching_off")["model"] == "model relative version 1"
        client = server.wait_ready().client()
        config = client.get("/v2/models/relative/config")[1]
        client.close()
    assert config["max_batch_size"] == 0


def test_a_deadline_that_cannot_be_met_is_refused_at_once(server: RuntimeProcess) -> None:
    client = server.client()
    x = np.ones((1, 4), np.float32)
    assert ask(client, "slow", x)[0] == 200
    document = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}],
        "parameters": {"timeout": 50},
    }
    status, headers, body = client.request(
        "POST", "/v2/models/slow/infer", json.dumps(document).encode()
    )
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert "deadline" in json.loads(body)["error"]
    document["parameters"] = {"priority": 2}
    assert client.infer("slow", document)[0] == 400
    client.close()


def test_a_full_queue_refuses_and_an_old_request_times_out(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add("slow", spinner(600_000), X, Y)["batching"] = {
        "instances": 1,
        "default_queue_policy": {"max_queue_size": 1, "default_timeout_microseconds": 100_000},
    }
    with RuntimeProcess(folder.write()) as server:
        server.wait_ready()
        answers: dict[int, tuple[int, Any]] = {}

        def one(number: int) -> None:
            client = server.client()
            answers[number] = ask(client, "slow", np.ones((1, 4), np.float32))
            client.close()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        for thread in threads:
            thread.join(30)
    # On a busy machine they may come in another order.
    assert sorted(status for status, _ in answers.values()) == [200, 503, 503]
    refusals = " | ".join(
        sorted(body["error"] for status, body in answers.values() if status > 200)
    )
    assert "waited longer" in refusals
    assert "queue is full" in refusals


def test_work_of_a_client_that_left_is_not_begun(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add("slow", spinner(400_000), X, Y)["batching"] = {"instances": 1}
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    ).encode()
    with RuntimeProcess(folder.write()) as server:
        port = server.wait_ready().port
        leaving = []
        for _ in range(10):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/v2/models/slow/infer", body)
            leaving.append(connection)
        time.sleep(0.1)
        for connection in leaving:
            connection.close()
        client = server.client()
        began = time.monotonic()
        assert client.request("POST", "/v2/models/slow/infer", body)[0] == 200
        taken = time.monotonic() - began
        began = time.monotonic()
        assert client.request("POST", "/v2/models/slow/infer", body)[0] == 200
        alone = time.monotonic() - began
        client.close()
        assert server.stop() == 0
    # Ten were sent; without cancellation the newcomer would wait for all of them.
    assert taken < 5 * alone + 0.5
    statuses = [entry["status"] for entry in server.log if entry["event"] == "request"]
    # The one that had begun may have been answered before its client left.
    assert statuses.count(499) >= 9
