"""Spans in files: what they hold, what they never hold, and when there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.errors import Refusal
from packager.runtime.exchange import Exchange
from packager.runtime.traces import Traces, traces_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
REQUEST = {
    "id": "anna",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4.625]}],
}


def spans(folder: Path) -> list[dict[str, Any]]:
    found = []
    for line in (folder / "traces.jsonl").read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                found += scope["spans"]
    return found


def attributes(of: dict[str, Any]) -> dict[str, str]:
    return {entry["key"]: next(iter(entry["value"].values())) for entry in of["attributes"]}


def test_an_inference_leaves_a_span_of_its_callers_trace(tmp_path: Path) -> None:
    folder, traces = RuntimeFolder(tmp_path / "image"), tmp_path / "traces"
    folder.add_classifier()
    environment = {"PACKAGER_TRACES_DIR": str(traces)}
    with RuntimeProcess(folder.write(), environment=environment) as process:
        client = process.wait_ready().client()
        asked = ("POST", "/v2/models/classifier/infer", json.dumps(REQUEST).encode())
        _, headers, body = client.request(*asked, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
        client.request(*asked, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
        client.request(*asked)
        client.request("POST", "/v2/models/classifier/infer", b"{}")
        client.request("GET", "/v2/health/ready")
        client.close()
        assert process.stop() == 0
    first, second, third = spans(traces)
    assert (first["traceId"], first["parentSpanId"]) == (TRACE, PARENT)
    assert first["name"] == "POST /v2/models/{model}/infer"
    assert int(first["endTimeUnixNano"]) > int(first["startTimeUnixNano"]) > 1.7e18
    told = attributes(first)
    assert told["packager.request.id"] == headers["x-request-id"]
    assert told["http.response.status_code"] == "200"
    assert told["http.response.body.size"] == str(len(body))
    assert told["packager.model.model"] == "classifier"
    assert second["traceId"] != TRACE
    assert len(second["traceId"]) == 32
    assert "parentSpanId" not in second
    assert attributes(third)["http.response.status_code"] == "400"
    text = (traces / "traces.jsonl").read_text()
    assert "anna" not in text
    assert "4.625" not in text
    assert "127.0.0.1" not in text
    resource = json.loads(text.splitlines()[0])["resourceSpans"][0]["resource"]
    assert attributes(resource)["service.name"] == folder.document["release"]["name"]


def test_without_the_folder_there_are_no_traces() -> None:
    assert traces_of({}, {}, print) is None


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="PACKAGER_TRACES_DIR"):
        traces_of({"PACKAGER_TRACES_DIR": str(tmp_path / "file" / "below")}, {}, print)


@pytest.mark.parametrize("share", ["2", "-1", "all", "nan"])
def test_a_share_that_is_none_is_refused(tmp_path: Path, share: str) -> None:
    environment = {"PACKAGER_TRACES_DIR": str(tmp_path), "PACKAGER_TRACES_SHARE": share}
    with pytest.raises(Refusal, match="PACKAGER_TRACES_SHARE"):
        traces_of(environment, {}, print)


@pytest.mark.parametrize(
    "header",
    [b"", b"00", f"ff-{TRACE}-{PARENT}-01".encode(), f"00-{'0' * 32}-{PARENT}-01".encode(),
     f"00-{TRACE}-{'0' * 16}-01".encode(), f"00-{TRACE.upper()}-{PARENT}-01".encode()],
)  # fmt: skip
def test_a_parent_that_is_none_begins_a_trace(tmp_path: Path, header: bytes) -> None:
    traces = Traces(tmp_path, {}, 1.0, print)
    traces.add(Exchange("POST", "/x", b"", {b"traceparent": header}, ""), "1", 200, 0)
    traces.close()
    (found,) = spans(tmp_path)
    assert found["traceId"] != TRACE
    assert "parentSpanId" not in found


def test_only_a_share_of_what_nobody_samples(tmp_path: Path) -> None:
    traces = Traces(tmp_path, {}, 0.0, print)
    traces.add(Exchange("POST", "/x", b"", {}, ""), "1", 200, 0)
    sampled = {b"traceparent": f"00-{TRACE}-{PARENT}-01".encode()}
    traces.add(Exchange("POST", "/x", b"", sampled, ""), "2", 500, 0)
    traces.close()
    (found,) = spans(tmp_path)
    assert found["status"] == {"code": 2}


def test_a_full_piece_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.runtime.traces._MOST_BYTES", 10)
    for name in ("1", "2", "3"):
        traces = Traces(tmp_path, {}, 1.0, print)
        traces.add(Exchange("POST", "/x", b"", {}, ""), name, 200, 0)
        traces.close()
    assert attributes(spans(tmp_path)[0])["packager.request.id"] == "3"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["traces-1.jsonl", "traces.jsonl"]


def test_a_disk_that_fails_is_told_once_and_stops_nobody(tmp_path: Path) -> None:
    told: list[str] = []
    traces = Traces(tmp_path, {}, 1.0, told.append)
    (tmp_path / "traces.jsonl").unlink()
    (tmp_path / "traces.jsonl").mkdir()
    traces.add(Exchange("POST", "/x", b"", {}, ""), "1", 200, 0)
    traces.close()
    assert told == ["Is a directory"]
