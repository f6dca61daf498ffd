"""The record of events loses nothing that it could keep, and says so when it cannot be kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime import records
from packager.runtime.records import Records
from packager.runtime.records_settings import RecordsSettings

REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def events(folder: Path) -> list[str]:
    """Of all files; the chain from line to line holds."""
    lines = [
        line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()
    ]
    previous = "0" * 64
    for line in lines:
        assert json.loads(line)["previous"] == previous
        previous = hashlib.sha256(line).hexdigest()
    return [json.loads(line)["event"] for line in lines]


def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Records(tmp_path, RecordsSettings())
    kept.event("first")
    kept.flush()
    room = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return room(descriptor, data[:30])

    kept.event("second")
    kept.event("third")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        kept.flush()
    kept.event("fourth")
    monkeypatch.undo()
    kept.close()
    assert events(tmp_path) == ["first", "second", "third", "fourth"]


def test_a_full_file_begins_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MOST_BYTES", 200)
    kept = Records(tmp_path, RecordsSettings())
    for number in range(6):
        kept.event(f"event {number}")
        kept.flush()
    kept.close()
    assert events(tmp_path) == [f"event {number}" for number in range(6)]
    assert len([*tmp_path.glob("*.jsonl")]) > 2


def test_a_record_that_was_removed_is_not_written_on(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    kept = tmp_path / "audit"
    with RuntimeProcess(folder.write(), environment={"PACKAGER_AUDIT_DIR": str(kept)}) as process:
        client = process.wait_ready().client()
        assert client.infer("classifier", REQUEST)[0] == 200
        assert client.get("/v2/health/live")[0] == 200
        shutil.rmtree(kept)
        until = time.monotonic() + 10
        while client.get("/v2/health/live")[0] != 503:
            assert time.monotonic() < until
            time.sleep(0.1)
        client.close()
        assert process.stop() == 69
        assert process.stderr() == ""
    assert "records_failed" in {line["event"] for line in process.log}
