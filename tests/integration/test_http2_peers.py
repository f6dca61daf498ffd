"""The HTTP/2 of the gRPC port as the clients of others speak it: node's (nghttp2) and curl's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engines import tool
from http2_peer import INFER
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.grpc_service.framing import framed
from packager.runtime.grpc_service.messages import message

SCRIPT = Path(__file__).parents[1] / "peers" / "http2_calls.mjs"
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_identity("FP32", [-1, 4])
    folder.document["grpc"] = {"port": 0}
    folder.document["http"] |= {"max_body_bytes": 4 << 20, "max_concurrency": 256}
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        yield process.log[-1]["grpc_port"]
        assert process.stop() == 0
        assert [line for line in process.log if line["event"] == "fault"] == []


def body(path: Path, rows: int) -> Path:
    x = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
    asked = message("inference.ModelInferRequest")(model_name="fp32")
    asked.inputs.add(name="x", datatype="FP32", shape=x.shape)
    asked.raw_input_contents.append(x.tobytes())
    path.write_bytes(framed([asked.SerializeToString()]))
    return path


@pytest.mark.parametrize(("rows", "calls"), [(1, 150), (5000, 30)])
def test_node(port: int, tmp_path: Path, rows: int, calls: int) -> None:
    """Many streams of one session, larger than its window, every third given up."""
    file = body(tmp_path / "body", rows)
    command = [*tool("node"), str(SCRIPT), str(port), str(file), str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["errors"] == []
    assert told["statuses"] == {"0": calls - calls // 3}
    assert told["reset"] == calls // 3
    assert told["bytes"] > 16 * rows * (calls - calls // 3)
    assert told["ping"]


def test_curl_uploads_more_than_a_window(port: int, tmp_path: Path) -> None:
    file = body(tmp_path / "body", 100_000)
    done = subprocess.run(
        [
            *tool("curl"), "--silent", "--http2-prior-knowledge", "--data-binary", f"@{file}",
            *("-H", "content-type: application/grpc", "-H", "te: trailers", "--dump-header"),
            *(str(tmp_path / "head"), f"http://127.0.0.1:{port}{INFER}"),
        ],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert len(done.stdout) > 1_600_000
    assert "grpc-status: 0" in (tmp_path / "head").read_text()
