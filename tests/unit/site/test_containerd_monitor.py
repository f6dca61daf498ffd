"""What ctr is told of the restart monitor: what is just being started is not the monitor's.

The monitor starts what bears its label and has no process, every ten seconds. A container that had
the label before its process was ended in the midst of its start, and begun again (kill 36 of
benchmarks/border/results/site_killing.jsonl).
"""

from __future__ import annotations

import os
import subprocess

import pytest

from packager.resources import data_folder

ADAPTER = data_folder("templates") / "site/54-containerd.sh"
# Notes what it is told; a task runs from its start to its kill.
CTR = """#!/bin/sh
here=${0%/*}
shift 2
case $* in
  "tasks ls") [ ! -e "$here/runs" ] || echo "one 41 RUNNING" ;;
  "tasks kill"* | "tasks rm"*) rm -f "$here/runs" ;;
  "tasks start"* | run*) : >"$here/runs" ;;
esac
echo "$*" >>"$here/told"
echo "$1 $2 $3 $4" >>"$here/order"
"""
SETTINGS = """
R_NAME=multiply SLOT=one DOOR=door IMAGE=image LABEL=l=m SITE_region=r SITE_listen=127.0.0.1:1
R_PYTHON=python R_PORT=1 R_GRPC_PORT=2 R_DRAIN=1 R_MEMORY_MIB=1 R_TMP_MIB=1 R_ENTRYPOINT='"a","b"'
R_NVIDIA_DEVICES= R_DEVICE_NODES= S_serving=one
launcher_program() { echo launcher; }
door_program() { echo door; }
reads() { echo reads; }
door_closed() { exit 5; }
chown() { :; }
"""


@pytest.fixture
def told(tmp_path):
    """What ctr was told by these words of the adapter, in order."""
    tool = tmp_path / "ctr"
    tool.write_text(CTR)
    tool.chmod(0o755)

    def run(words: str) -> list[str]:
        (tmp_path / "order").unlink(missing_ok=True)
        program = f". {ADAPTER}\n{SETTINGS}RUN_DIR={tmp_path}/run WORK={tmp_path}\n{words}"
        path = f"{tmp_path}:{os.environ['PATH']}"
        subprocess.run(["sh", "-euc", program], env={"PATH": path}, check=True)
        lines = (tmp_path / "order").read_text().splitlines()
        return [line for line in lines if not line.startswith("tasks ls")]

    return run


WATCHED = "containers label {} containerd.io/restart.status=running"
UNWATCHED = "containers label {} containerd.io/restart.status="


def test_a_new_server_is_watched_once_its_process_is_there(told, tmp_path):
    *_, started, watched = told("task_server")
    assert started.startswith("run ")
    assert watched == WATCHED.format("one")
    assert (tmp_path / "told").read_text().count("restart.status") == 1


def test_a_new_door_is_watched_once_its_process_is_there(told, tmp_path):
    *_, started, watched = told("task_door")
    assert started.startswith("run ")
    assert watched == WATCHED.format("door")
    assert (tmp_path / "told").read_text().count("restart.status") == 1


def test_what_was_kept_is_not_watched_while_it_starts(told):
    assert told("by_tasks start one") == [
        UNWATCHED.format("one"), "tasks rm one ", "tasks start --detach --null-io",
        WATCHED.format("one"),
    ]  # fmt: skip


def test_what_runs_is_watched_again(told):
    """A killed command may have started it and not come to tell the monitor."""
    told("by_tasks start one")
    assert told("by_tasks start one") == [WATCHED.format("one")]
    assert told("tasks_are_watched") == [WATCHED.format("one"), WATCHED.format("door")]


def test_what_is_to_stop_is_given_up_first(told):
    told("by_tasks start one")
    first, *_ = told("by_tasks stop --time 1 one")
    assert first == UNWATCHED.format("one")
