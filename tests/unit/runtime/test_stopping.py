"""Starting, being full, and leaving: the server as a process among routers and operators."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, spinner, tensor

X = [tensor("x", "FP32", [-1, 4])]
Y = [tensor("y", "FP32", [-1, 4])]
REQUEST = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
).encode()
LONG = 400_000  # rounds: more than a second
SHORT = 5_000


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    folder = RuntimeFolder(tmp_path)
    folder.add("short", spinner(SHORT), X, Y)
    folder.add("long", spinner(LONG), X, Y)
    return folder


class Load(threading.Thread):
    """A client that asks on and on, until the server says that it will close the connection."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.statuses: list[int] = []
        self.lost: str | None = None

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            while True:
                connection.request("POST", "/v2/models/short/infer", REQUEST)
                response = connection.getresponse()
                response.read()
                self.statuses.append(response.status)
                if response.getheader("connection") == "close":
                    return
        except OSError as error:
            self.lost = repr(error)
        finally:
            connection.close()


class Call(threading.Thread):
    """One request in the background."""

    def __init__(self, port: int, model: str) -> None:
        super().__init__(daemon=True)
        self._port, self._model = port, model
        self.status: int | None = None

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", f"/v2/models/{self._model}/infer", REQUEST)
            with connection.getresponse() as response:
                self.status = response.status
        except (OSError, http.client.HTTPException):
            self.status = None
        finally:
            connection.close()


def test_a_stop_under_load_loses_nobody(folder: RuntimeFolder) -> None:
    with RuntimeProcess(folder.write()) as server:
        port = server.wait_ready().port
        clients = [Load(port) for _ in range(8)]
        last = Call(port, "long")
        for thread in (*clients, last):
            thread.start()
        time.sleep(1.0)
        server.signal()
        server.wait_event("draining", 5)
        probe = server.client()
        assert probe.get("/v2/health/ready") == (503, {"ready": False})
        probe.close()
        for thread in (*clients, last):
            thread.join(30)
        assert server.wait() == 0
        assert server.stderr() == ""
    assert [client.lost for client in clients] == [None] * 8
    assert {status for client in clients for status in client.statuses} == {200}
    assert last.status == 200
    assert server.log[-1]["event"] == "stopped"
    assert server.log[-1]["cut"] == 0


def test_requests_are_still_served_while_draining(folder: RuntimeFolder) -> None:
    with RuntimeProcess(folder.write()) as server:
        port = server.wait_ready().port
        busy = Call(port, "long")
        busy.start()
        time.sleep(0.3)
        server.signal()
        server.wait_event("draining", 5)
        late = Call(port, "short")
        late.run()
        busy.join(30)
        assert server.wait() == 0
    assert (busy.status, late.status) == (200, 200)


def test_what_does_not_finish_in_time_is_cut_and_told(folder: RuntimeFolder) -> None:
    folder.document["http"]["drain_seconds"] = 0.2
    folder.add("endless", spinner(20_000_000), X, Y)
    with RuntimeProcess(folder.write()) as server:
        call = Call(server.wait_ready().port, "endless")
        call.start()
        time.sleep(0.3)
        began = time.monotonic()
        server.signal()
        assert server.wait() == 1
        assert time.monotonic() - began < 5
        call.join(30)
    assert call.status == 503
    assert server.log[-1]["cut"] == 1


def test_a_second_signal_makes_haste(folder: RuntimeFolder) -> None:
    folder.document["http"]["drain_seconds"] = 600
    folder.add("endless", spinner(20_000_000), X, Y)
    with RuntimeProcess(folder.write()) as server:
        call = Call(server.wait_ready().port, "endless")
        call.start()
        time.sleep(0.3)
        server.signal()
        server.wait_event("draining", 5)
        server.signal()
        assert server.wait() == 1
        call.join(30)


def test_an_idle_server_stops_soon_also_on_ctrl_c(folder: RuntimeFolder) -> None:
    with RuntimeProcess(folder.write()) as server:
        server.wait_ready()
        began = time.monotonic()
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert time.monotonic() - began < 5
        assert server.stderr() == ""


def test_a_stop_while_loading_is_obeyed_at_once(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    x = np.ones((1, 4), np.float32)
    folder.add("slow", spinner(20_000_000), X, Y, golden={"input.x": x, "output.y": x})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("--host", "127.0.0.1", "--port", str(port))
    with RuntimeProcess(folder.write(), arguments=arguments) as server:
        server.port = port
        assert wait_live(server) == (200, {"live": True})
        client = server.client()
        assert client.get("/v2/health/ready") == (503, {"ready": False})
        assert client.get("/v2/models/slow")[0] == 503
        status, headers, _ = client.request("POST", "/v2/models/slow/infer", REQUEST)
        assert status == 503
        assert headers["retry-after"] == "1"
        client.close()
        began = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert time.monotonic() - began < 2
        assert server.stderr() == ""


def wait_live(server: RuntimeProcess) -> tuple[int, object]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        client = server.client()
        try:
            return client.get("/v2/health/live")
        except OSError:
            time.sleep(0.02)
        finally:
            client.close()
    raise AssertionError("not alive after 30 s")


def test_more_than_it_can_hold_is_refused_at_once(folder: RuntimeFolder) -> None:
    folder.document["http"]["max_concurrency"] = 1
    with RuntimeProcess(folder.write()) as server:
        port = server.wait_ready().port
        busy = Call(port, "long")
        busy.start()
        client = server.client()
        deadline = time.monotonic() + 10
        while b"packager_requests_in_hand 1" not in client.request("GET", "/metrics")[2]:
            assert time.monotonic() < deadline
        began = time.monotonic()
        status, headers, body = client.request("POST", "/v2/models/short/infer", REQUEST)
        assert status == 503
        assert headers["retry-after"] == "1"
        assert "1 requests are in hand" in json.loads(body)["error"]
        assert client.get("/v2/health/live")[0] == 200
        assert time.monotonic() - began < 0.5
        assert busy.is_alive()
        busy.join(30)
        assert busy.status == 200
        assert client.request("POST", "/v2/models/short/infer", REQUEST)[0] == 200
        client.close()
        assert server.stop() == 0


def test_the_log_says_nothing_of_payloads(folder: RuntimeFolder) -> None:
    folder.add_identity("BYTES", [-1])
    secret = "patient-4711"
    with RuntimeProcess(folder.write()) as server:
        client = server.wait_ready().client()
        given = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [secret]}
        assert client.infer("bytes", {"id": secret, "inputs": [given]})[0] == 200
        assert client.infer("bytes", {"inputs": [given | {"shape": [2]}]})[0] == 400
        assert client.get(f"/v2/models/{secret}?{secret}")[0] == 404
        client.close()
        assert server.stop() == 0
        assert secret not in server.stderr()
    requests = [entry for entry in server.log if entry["event"] == "request"]
    assert [entry["status"] for entry in requests] == [200, 400, 404]
    for entry in requests:
        assert set(entry) == {"time", "event", "id", "status", "bytes_in", "bytes_out", "ms"}
    assert secret not in json.dumps(server.log)
