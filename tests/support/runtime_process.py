"""The runtime as a real process, and a plain client for it."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

START_SECONDS = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]


class RuntimeProcess(AbstractContextManager["RuntimeProcess"]):
    """`python -m packager_runtime` (or another command), started and always ended.

    `port` is known once `wait_ready` has returned; `log` holds the lines of its journal.
    """

    def __init__(
        self,
        config: Path,
        *,
        package_parent: Path | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        arguments: Sequence[str] = ("--host", "127.0.0.1", "--port", "0"),
        home: Path | None = None,
        command: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> None:
        module = "packager.runtime" if package_parent is None else "packager_runtime"
        start = command or (sys.executable, "-m", module, "--config", str(config), *arguments)
        self.log: list[dict[str, Any]] = []
        self.port = 0
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [*wrapper, *start],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(package_parent or REPOSITORY, home or config.parent)
            | dict(environment or {}),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_event(self, event: str, seconds: float = START_SECONDS) -> dict[str, Any]:
        """The next journal line of this kind; fails when the process ends before."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            assert line is not None, f"ended before {event!r}: {self.stderr()}"
            entry: dict[str, Any] = json.loads(line)
            self.log.append(entry)
            if entry["event"] == event:
                return entry

    def wait_ready(self) -> RuntimeProcess:
        self.port = self.wait_event("ready")["port"]
        return self

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """The exit code; the rest of the journal is in `log` then."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        while (line := self._lines.get(timeout=seconds)) is not None:
            self.log.append(json.loads(line))
        return code

    def stop(self) -> int:
        self.signal()
        return self.wait()

    def stderr(self) -> str:
        """What was written to stderr; waits for the end of the process."""
        assert self.process.stderr
        self.process.wait(30)
        return self.process.stderr.read()

    def client(self) -> Client:
        return Client(self.port)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, seconds: float = 30.0) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and body."""
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()

    def get(self, path: str) -> tuple[int, Any]:
        status, _, body = self.request("GET", path)
        return status, json.loads(body)

    def infer(self, model: str, document: object) -> tuple[int, Any]:
        """An inference with a JSON body."""
        path = f"/v2/models/{model}/infer"
        status, _, body = self.request("POST", path, json.dumps(document).encode())
        return status, json.loads(body)

    def infer_binary(
        self,
        model: str,
        document: object,
        tensors: Sequence[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, bytes]:
        """An inference with binary tensors: status, JSON of the answer, what follows it."""
        head = json.dumps(document).encode()
        status, found, body = self.request(
            "POST",
            f"/v2/models/{model}/infer",
            b"".join([head, *tensors]),
            {"Inference-Header-Content-Length": str(len(head)), **(headers or {})},
        )
        if found.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        end = int(found.get("inference-header-content-length", len(body)))
        return status, json.loads(body[:end]), body[end:]

    def close(self) -> None:
        self.connection.close()


def clean_environment(python_path: Path, home: Path) -> dict[str, str]:
    """Only what a process needs: no proxies, no switches of the caller's, a home of its own."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": str(python_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
    }
