"""The log never stands in the way of the server: not while it serves, and not at its end."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from runtime_process import REPOSITORY, Client, clean_environment
from tiny_models import RuntimeFolder

from packager.runtime import journal
from packager.runtime.journal import Journal

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def key(text: str) -> str:
    return f"tester {hashlib.sha256(text.encode()).hexdigest()}\n"


def test_a_collector_that_stalls_stalls_nothing(tmp_path: Path) -> None:
    """Requests, keys that are read again, which leaves a line at once, and the end."""
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    keys = tmp_path / "keys"
    keys.write_text(key("old"))
    environment = clean_environment(REPOSITORY, tmp_path) | {"PACKAGER_API_KEYS_FILE": str(keys)}
    arguments = ("--config", str(folder.write()), "--host", "127.0.0.1", "--port", "0")
    command = [sys.executable, "-m", "packager.runtime", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        client = Client(json.loads(process.stdout.readline())["port"], 10)
        try:
            # Nobody reads from here on, and the pipe holds some thirty lines.
            asked = json.dumps(ONE).encode()
            path = "/v2/models/classifier/infer"
            for _ in range(100):
                assert client.request("POST", path, asked, {"X-API-Key": "old"})[0] == 200
            keys.write_text(key("new"))
            until = time.monotonic() + 10
            while client.request("POST", path, asked, {"X-API-Key": "new"})[0] != 200:
                assert time.monotonic() < until
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            client.connection.close()
            process.kill()


def test_lines_come_in_their_order_and_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        log = Journal(stream, "personal")
        for number in range(300):
            log.request(f"r-{number}", 200, 1, 2, 0.5)
            if number % 100 == 0:
                log.event("marked", number=number)
        log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["retention"] for line in lines} == {"personal"}
    told = [line.get("id", line.get("number")) for line in lines]
    assert told[:3] == ["r-0", 0, "r-1"]
    assert len(told) == 303


def test_what_is_not_taken_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what a pipe that never blocks takes piece by piece is whole."""
    monkeypatch.setattr(journal, "_MOST_WAITING", 1000)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as stream:
            found.append(stream.read())

    total = 5000
    with os.fdopen(writing, "w") as stream:
        log = Journal(stream)
        for number in range(total):
            log.request(f"r-{number}", 200, 1, 2, 0.5)
        reader = threading.Thread(target=read)
        reader.start()
        log.close()
        log._writer.join(30)
    reader.join(30)
    lines = [json.loads(line) for line in found[0].splitlines()]
    lost = sum(line.get("count", 0) for line in lines)
    assert lost > 0
    assert len([line for line in lines if line["event"] == "request"]) + lost == total
