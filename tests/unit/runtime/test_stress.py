"""The small forms of `benchmarks/runtime/stress.py`: crowds, hostile peers, failures, leaving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stress
from grpc_exactness import grpc_exactness
from grpc_hostile import FLOODS, grpc_hostile
from stress import Over

BOTH = pytest.mark.parametrize("over", ["REST", "gRPC"])


@pytest.mark.parametrize("crowd", [stress.exactness, grpc_exactness], ids=["REST", "gRPC"])
def test_everybody_of_a_crowd_gets_their_own_answer(
    tmp_path: Path, crowd: Callable[[Path, int], dict[str, Any]]
) -> None:
    found = crowd(tmp_path, 300)
    left = found.get("left before the answer", 0) + found.get("left after the answer", 0)
    assert found["right"] == 300 - left
    assert found["runs"] < found["rows"], "requests were put together"
    assert found["exit"] == 0


def test_hostile_peers_keep_nobody_from_being_served(tmp_path: Path) -> None:
    found = stress.hostile(tmp_path, idle=200, others=20, seconds=3)
    assert found["ready"] == found["inferred"] > 0
    assert found["huge heads told 431"] == 20
    assert found["exit"] == 0


def test_hostile_peers_of_grpc_neither(tmp_path: Path) -> None:
    found = grpc_hostile(tmp_path, idle=200, others=20, seconds=3)
    assert found["ready"] == found["inferred"] > 0
    for flood in FLOODS:
        assert found[f"{flood} told to calm down"] > 0
    assert (found["exit"], found["faults"]) == (0, 0)


@BOTH
def test_a_session_that_fails_is_made_anew(tmp_path: Path, over: Over) -> None:
    found = stress.recovery(tmp_path, over=over)
    assert found["ready 503"] > 0
    assert found["revived"] >= 1
    assert found["last_ready"] == 200
    assert found["exit"] == 0


@BOTH
def test_leaving_under_load_loses_nobody(tmp_path: Path, over: Over) -> None:
    found = stress.leaving(tmp_path, 1, clients=8, over=over)
    assert set(found) - {"crossed"} == {"status 200", "exit 0", "times", "slowest_stop_s"}
    assert found["exit 0"] == 1


@BOTH
def test_overload_is_refused_quickly_and_costs_no_memory(tmp_path: Path, over: Over) -> None:
    found = stress.overload(tmp_path, 2, calm=1, over=over)
    assert set(found["statuses"]) == {"200", "503"}
    assert found["refused"] > 0
    assert found["refused_p50_ms"] < found["alone_p50_ms"] + 50
    assert found["memory_growth"] < 1.2
    assert found["exit"] == 0
