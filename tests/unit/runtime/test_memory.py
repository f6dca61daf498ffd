"""What takes more memory than there is fails alone, and what a large request took goes back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from runtime_process import REPOSITORY, Client, RuntimeProcess
from tiny_models import RuntimeFolder, tensor, widening

from packager.runtime import memory
from packager.runtime.memory import Growth, failed_for_want_of_it

MIB = 1 << 20
LIMIT = 500 * MIB
TOLD = [
    (413, "this takes more memory than the server has; send less at a time"),
    (503, "there is not enough memory for this request now"),
]
TOO_MANY, MANY = 100_000, 20_000  # rows of 32 KB in the model: 3.3 GB, and 0.7


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = RuntimeFolder(tmp_path)
    inputs, outputs = [tensor("x", "FP32", [-1, 4])], [tensor("y", "FP32", [-1, 1])]
    folder.add("wide", widening(), inputs, outputs)
    folder.document["http"]["max_body_bytes"] = 32 * MIB
    return folder.write()


def ask(client: Client, rows: int) -> tuple[int, str]:
    values = np.ones((rows, 4), np.float32).tobytes()
    size = {"binary_data_size": len(values)}
    entry = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "parameters": size}
    wanted = {"name": "y", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [entry], "outputs": [wanted]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    status, _, body = client.request("POST", "/v2/models/wide/infer", head + values, headers)
    return status, body[:200].decode("latin-1")


def resident(process: RuntimeProcess) -> int:
    (line,) = [
        line
        for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) * 1024


def test_a_request_that_is_too_large_fails_alone(config: Path) -> None:
    """Again and again: it is the request that is at fault, and the session stays in rotation."""
    with RuntimeProcess(config, wrapper=("prlimit", f"--data={LIMIT}")) as process:
        client = process.wait_ready().client()
        for _ in range(6):
            status, told = ask(client, TOO_MANY)
            # Where it fails depends on what is free just then: in the model, or before.
            assert (status, json.loads(told)["error"]) in TOLD
            assert ask(client, 1)[0] == 200
        assert client.request("GET", "/v2/health/ready")[0] == 200
        client.close()
        assert process.stop() == 0
    assert "session_failing" not in {line["event"] for line in process.log}


def test_what_a_large_request_took_goes_back(config: Path) -> None:
    with RuntimeProcess(config) as process:
        client = process.wait_ready().client()
        assert ask(client, 1)[0] == 200
        before = resident(process)
        assert ask(client, MANY)[0] == 200
        deadline = time.monotonic() + 30
        while resident(process) > before + 100 * MIB:
            assert time.monotonic() < deadline, "the arena keeps what it has"
            time.sleep(0.2)
            assert ask(client, 1)[0] == 200
        client.close()


BOUND = """
from packager.runtime.memory import bound
print(bound({limit}))
try:
    bytearray({more})
except MemoryError:
    print("refused")
bytearray({fewer})
"""


def test_a_process_is_bounded_below_what_it_may_have() -> None:
    code = BOUND.format(limit=LIMIT, more=LIMIT, fewer=LIMIT // 2)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    growth, refused = done.stdout.split()
    assert LIMIT // 2 < int(growth) < LIMIT
    assert refused == "refused"


@pytest.mark.parametrize("limit", [None, 1])
def test_what_is_no_limit_bounds_nothing(limit: int | None) -> None:
    assert memory.bound(limit) is None


@pytest.mark.parametrize(
    ("written", "expected"), [("max", None), ("536870912\n", 512 * MIB), ("", None)]
)
def test_a_container_s_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, expected: int | None
) -> None:
    (tmp_path / "memory.max").write_text(written)
    paths = (str(tmp_path / "none"), str(tmp_path / "memory.max"))
    monkeypatch.setattr(memory, "_LIMITS", paths)
    found = memory.allowed()
    assert found is not None
    assert found == expected or (expected is None and found > 1024 * MIB)


def test_who_needs_the_memory_again_at_once_is_left_alone_for_longer() -> None:
    growth = Growth(room=400 * MIB, resident=100 * MIB)
    asked = [second for second in range(200) if growth.too_much(300 * MIB)]
    assert asked == [0, 2, 5, 10, 19, 36, 69, 134, 199]
    assert not any(growth.too_much(150 * MIB) for _ in range(100))
    assert growth.too_much(300 * MIB)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 1"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("the shape is wrong"), False),
    ],
)
def test_what_an_allocation_that_failed_says(error: Exception, expected: bool) -> None:
    assert failed_for_want_of_it(error) is expected
