"""The launcher: a server without a network, reached through a file; run as the site runs it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from engines import free_port

from packager.resources import data_folder

LAUNCHER = data_folder("templates") / "site/launcher.py"
SERVER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("begun", flush=True)
while True:
    with listening.accept()[0] as there:
        asked = b""
        while part := there.recv(65536):
            asked += part
        if asked == b"end":
            sys.exit(7)
        if asked == b"talk":
            print("x" * 6_000_000, flush=True)
        there.sendall(asked[::-1])
"""


@pytest.fixture
def launched(tmp_path):
    port = free_port()
    # The server of this test has one port, which stands for both.
    ports = f"{port},{port}"
    words = [sys.executable, "-I", LAUNCHER, tmp_path, ports, sys.executable, "-c", SERVER, port]
    with subprocess.Popen([str(word) for word in words]) as process:
        try:
            until(lambda: begun(tmp_path))
            yield process
        finally:
            process.terminate()  # its server goes with it
            process.wait(30)


def begun(place: Path) -> bool:
    log = place / "log"
    return (place / "server").exists() and log.exists() and "begun" in log.read_text()


def until(holds) -> None:
    last = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.02)


def ask(place: Path, data: bytes, door: str = "server") -> bytes:
    with closing(socket.socket(socket.AF_UNIX)) as there:
        there.connect(str(place / door))
        there.sendall(data)
        there.shutdown(socket.SHUT_WR)
        answer = b""
        while part := there.recv(65536):
            answer += part
        return answer


def test_callers_are_carried_in_whole(launched, tmp_path):
    assert ask(tmp_path, b"abc") == b"cba"
    assert ask(tmp_path, b"abc", "grpc") == b"cba"
    data = bytes(range(256)) * 8000
    assert ask(tmp_path, data) == data[::-1]


def test_it_ends_as_the_server_ends(launched, tmp_path):
    assert ask(tmp_path, b"end") == b""
    assert launched.wait(30) == 7


def test_nobody_is_let_in_before_the_server_listens(tmp_path):
    """A connection that ends at once would be taken for a server that ended."""
    port = free_port()
    server = f"import os, time\nwhile not os.path.exists(r'{tmp_path / 'now'}'): time.sleep(0.01)\n"
    words = [sys.executable, "-I", LAUNCHER, tmp_path, port, sys.executable, "-c", server + SERVER]
    with subprocess.Popen([str(word) for word in (*words, port)]) as process:
        try:
            until(lambda: (tmp_path / "log").exists())
            time.sleep(0.3)
            assert not (tmp_path / "server").exists()
            (tmp_path / "now").touch()
            until(lambda: begun(tmp_path))
            assert ask(tmp_path, b"abc") == b"cba"
            assert ask(tmp_path, b"end") == b""
            until(lambda: not (tmp_path / "server").exists())
            assert process.wait(30) == 7
        finally:
            process.kill()


def test_a_signal_reaches_the_server(launched):
    launched.send_signal(signal.SIGTERM)
    assert launched.wait(30) == 128 + signal.SIGTERM


def test_the_log_is_bounded(launched, tmp_path):
    for _ in range(5):
        assert ask(tmp_path, b"talk") == b"klat"
    until(lambda: sum(path.stat().st_size for path in tmp_path.glob("log*")) > 11_000_000)
    time.sleep(0.2)
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("log*")}
    assert set(sizes) == {"log", "log.1"}
    assert sum(sizes.values()) < 22_000_000


def test_a_socket_of_an_earlier_life_is_replaced(tmp_path):
    (tmp_path / "server").touch()
    done = subprocess.run(
        [sys.executable, "-I", LAUNCHER, tmp_path, "1", sys.executable, "-c", "print('said')"],
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "log").read_text() == "said\n"
