"""The door's program, as rendered, run as a real process on loopback."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from built_targets import sample_target

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target


class Echo(BaseHTTPRequestHandler):
    """Gives back what it is sent; `/slow` takes a second."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def program() -> str:
    """The program as the rendered Compose file holds it."""
    files = render_target(*sample_target("sa", "x86-64-v3", DeploymentPlatform.COMPOSE))
    return yaml.safe_load(files["compose.yaml"])["services"]["door"]["command"][0]


@pytest.fixture
def door(upstream):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = ["127.0.0.1", str(upstream), "127.0.0.1", str(port), "10"]
    process = subprocess.Popen([sys.executable, "-I", "-c", program(), *told])
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield process, port
    process.kill()
    process.wait()


def post(port: int, path: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_bytes_go_through_unchanged_and_side_by_side(door):
    bodies = [bytes([number]) * 1_000_000 for number in range(8)]
    answers = [b""] * len(bodies)

    def ask(number: int) -> None:
        answers[number] = post(door[1], "/", bodies[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == bodies


def test_a_client_that_stops_sending_still_gets_its_answer(door):
    with socket.create_connection(("127.0.0.1", door[1]), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.endswith(b"hi")


def test_a_client_that_vanishes_leaves_the_door_working(door):
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", door[1]))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        client.close()
    assert post(door[1], "/", b"still here") == b"still here"


def test_told_to_stop_it_finishes_what_is_open_and_takes_nothing_new(door):
    process, port = door
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(port, "/slow", b"late")))
    asking.start()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with socket.socket() as attempt:
        assert attempt.connect_ex(("127.0.0.1", port)) != 0
    asking.join()
    assert answers == [b"late"]
    assert process.wait(timeout=5) == 0


def test_it_answers_on_a_socket_that_it_is_handed(upstream):
    with socket.create_server(("127.0.0.1", 0)) as passed:
        told = ["127.0.0.1", str(upstream), "passed", str(passed.fileno()), "10"]
        command = [sys.executable, "-I", "-c", program(), *told]
        process = subprocess.Popen(command, pass_fds=[passed.fileno()])
        try:
            assert post(passed.getsockname()[1], "/", b"hello") == b"hello"
        finally:
            process.terminate()
        assert process.wait(timeout=5) == 0


def test_it_answers_for_a_second_port_of_the_server(upstream):
    second = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=second.serve_forever, daemon=True)
    thread.start()
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        told = ["127.0.0.1", str(upstream), "passed", str(one.fileno()), "10"]
        told += [str(second.server_address[1]), str(two.fileno())]
        command = [sys.executable, "-I", "-c", program(), *told]
        process = subprocess.Popen(command, pass_fds=[one.fileno(), two.fileno()])
        try:
            assert post(one.getsockname()[1], "/", b"first") == b"first"
            second.shutdown()
            second.server_close()
            with pytest.raises(OSError):
                post(two.getsockname()[1], "/", b"second")
            assert post(one.getsockname()[1], "/", b"first") == b"first"
        finally:
            process.terminate()
            thread.join()
        assert process.wait(timeout=5) == 0
