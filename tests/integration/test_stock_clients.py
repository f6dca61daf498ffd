"""Conformance by clients that others made: tritonclient over HTTP and over gRPC."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from runtime_process import RuntimeProcess
from stock_clients import run_client
from tiny_models import ONNX_TYPES, RuntimeFolder, spinner, tensor


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.add(
        "slow",
        spinner(300_000),
        [tensor("x", "FP32", [-1, 4])],
        [tensor("y", "FP32", [-1, 4])],
    )
    for datatype in ONNX_TYPES:
        folder.add_identity(datatype, [-1, 2])
    if importlib.util.find_spec("grpc"):
        folder.document["grpc"] = {"port": 0}
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_tritonclient(server: RuntimeProcess, kind: str) -> None:
    port = server.port if kind == "http" else server.log[-1]["grpc_port"]
    found = run_client("triton_conformance.py", f"tritonclient.{kind}", kind, f"127.0.0.1:{port}")
    assert {name: outcome for name, outcome in found.items() if outcome != "ok"} == {}
    assert len(found) >= 12
