"""The table of `broken_messages.py`: each is refused for what is wrong with it, and no fault."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from broken_messages import BROKEN, GOOD
from http2_peer import INFER
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

MEANT = {"INVALID_ARGUMENT", "NOT_FOUND"}


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    for datatype in ("BOOL", "BYTES", "FP16", "INT8", "UINT8"):
        folder.add_identity(datatype, [-1, 2])
    folder.document["grpc"] = {"port": 0}
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        port = process.log[-1]["grpc_port"]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        assert process.stop() == 0
        assert [line for line in process.log if line["event"] == "fault"] == []


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right(channel: grpc.Channel, name: str) -> None:
    assert channel.unary_unary(INFER)(GOOD[name], timeout=20)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken(channel: grpc.Channel, name: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(INFER)(BROKEN[name], timeout=20)
    assert refused.value.code().name in MEANT, refused.value.details()
    assert refused.value.details()
