"""What the server tells about itself: metrics, statistics, configuration, index, OpenAPI, page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from runtime_process import Client, RuntimeProcess
from tiny_models import RuntimeFolder, classifier_answer

REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": [1.0] * 8}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores, label = classifier_answer(x)
    golden = {"input.x": x, "output.scores": scores, "output.label": label}
    batched = folder.add_classifier(golden=golden)
    batched["batching"] = {"max_batch_size": 8, "priority_levels": 3}
    folder.add_identity("BYTES", [-1, 2])
    folder.document["records"] = {
        "retention": "health",
        "keep_at_least_days": 183,
        "keep_at_most_days": None,
    }
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


@pytest.fixture
def client(server: RuntimeProcess) -> Iterator[Client]:
    client = server.client()
    yield client
    client.close()


def metrics(client: Client) -> dict[str, float]:
    status, headers, body = client.request("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    found = {}
    for line in lines:
        assert re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+', line), line
        name, _, value = line.rpartition(" ")
        assert name not in found
        found[name] = float(value)
    return found


def test_metrics_count_what_happens(client: Client) -> None:
    before = metrics(client)
    for _ in range(3):
        assert client.infer("classifier", REQUEST)[0] == 200
    assert client.infer("classifier", {})[0] == 400
    after = metrics(client)
    labels = '{model="classifier",version="1"}'

    def rise(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert rise(f"nv_inference_request_success{labels}") == 3
    assert rise(f"nv_inference_count{labels}") == 6
    assert rise(f"nv_inference_exec_count{labels}") == 3
    assert rise('packager_http_responses_total{status="400"}') == 1
    assert rise('packager_request_seconds_bucket{model="classifier",version="1",le="+Inf"}') == 3
    assert rise('packager_batch_rows_bucket{model="classifier",version="1",le="2"}') == 3
    assert after[f"nv_inference_pending_request_count{labels}"] == 0
    assert after["packager_ready"] == 1
    assert after["process_resident_memory_bytes"] > 1 << 20


def test_statistics_are_tritons(client: Client) -> None:
    assert client.infer("classifier", REQUEST)[0] == 200
    status, document = client.get("/v2/models/classifier/versions/1/stats")
    assert status == 200
    (entry,) = document["model_stats"]
    assert entry["inference_count"] == 2 * entry["execution_count"] > 0
    assert entry["inference_stats"]["success"]["count"] > 0
    assert entry["inference_stats"]["compute_infer"]["ns"] > 0
    assert entry["batch_stats"][0]["batch_size"] == 2
    names = [entry["name"] for entry in client.get("/v2/models/stats")[1]["model_stats"]]
    assert names == ["bytes", "classifier"]
    assert client.get("/v2/models/none/stats")[0] == 404


def test_configuration_is_tritons(client: Client) -> None:
    config = client.get("/v2/models/classifier/config")[1]
    assert config["max_batch_size"] == 8
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]
    assert config["dynamic_batching"]["priority_levels"] == 3
    plain = client.get("/v2/models/bytes/config")[1]
    assert plain["max_batch_size"] == 0
    assert plain["input"][0] == {"name": "x", "data_type": "TYPE_STRING", "dims": [-1, 2]}
    assert "dynamic_batching" not in plain


def test_the_index_names_all(client: Client) -> None:
    status, _, body = client.request("POST", "/v2/repository/index", b"{}")
    assert status == 200
    assert {"name": "classifier", "version": "1", "state": "READY", "reason": ""} in json.loads(
        body
    )


def test_every_path_is_described(client: Client) -> None:
    document = client.get("/openapi.json")[1]
    assert document["openapi"].startswith("3.1")
    for path in ("/v2", "/metrics", "/v2/models/{model}/infer", "/v2/repository/index", "/"):
        assert path in document["paths"]
    for path, item in document["paths"].items():
        for method in set(item) & {"get", "post"}:
            concrete = path.format(model="classifier", version="1")
            status = client.request(method.upper(), concrete, b"{}" if method == "post" else None)[
                0
            ]
            assert str(status) in item[method]["responses"], (path, status)


def test_the_page_needs_nothing_from_elsewhere(client: Client) -> None:
    status, headers, body = client.request("GET", "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    page = body.decode()
    assert not re.search(r'(src|href)="(https?:)?//|<script|@import|url\(', page)
    assert "classifier" in page
    assert "de/x86-64-v3/compose" in page


def test_answers_are_packed_when_the_client_likes(client: Client) -> None:
    import gzip
    import zlib

    given = {"name": "x", "datatype": "FP32", "shape": [500, 4], "data": [0.5] * 2000}
    body = json.dumps({"inputs": [given]}).encode()
    plain = client.request("POST", "/v2/models/classifier/infer", body)
    assert "content-encoding" not in plain[1]
    for coding, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        status, headers, packed = client.request(
            "POST", "/v2/models/classifier/infer", body, {"Accept-Encoding": coding}
        )
        assert status == 200
        assert headers["content-encoding"] == coding
        assert unpack(packed) == plain[2]
        assert len(packed) < len(plain[2]) / 2


def test_every_line_of_the_log_names_its_retention(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = RuntimeFolder(tmp_path_factory.mktemp("logged"))
    folder.add_classifier()
    folder.document["records"] = {"retention": "health"}
    with RuntimeProcess(folder.write()) as server:
        client = server.wait_ready().client()
        assert client.infer("classifier", REQUEST)[0] == 200
        client.close()
        assert server.stop() == 0
    assert {entry["retention"] for entry in server.log} == {"health"}
    assert {"ready", "request", "stopped"} <= {entry["event"] for entry in server.log}
