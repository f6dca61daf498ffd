"""What a hop through the site's door costs, side by side in one run.

    python -m benchmarks.border.site_door [REQUESTS]

One caller, one connection, small requests, in turns: straight to a server that answers at once,
through the byte relay of Compose (templates/shared/door.py), through the site's door. Prints the
median and the 99th percentile of each in milliseconds, as one JSON line.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from packager.resources import data_folder

ANSWER = b'{"outputs": []}' * 20


class AtOnce(BaseHTTPRequestHandler):
    """Answers whatever it is asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(requests: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), AtOnce)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    inner, relay_port = str(server.server_port), free_port()
    templates = data_folder("templates")
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        state.write_text("serving=127.0.0.1\n")
        start = [sys.executable, "-I"]
        relay = subprocess.Popen(
            [*start, templates / "shared/door.py", "127.0.0.1", inner, "127.0.0.1",
             str(relay_port), "5"],
        )  # fmt: skip
        door = subprocess.Popen(
            [*start, templates / "site/door.py", state, "127.0.0.1:0", f"{inner},1", "5"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert door.stdout
        door_port = int(door.stdout.readline().split()[1])
        time.sleep(1)
        ways = {"straight": server.server_port, "relay": relay_port, "door": door_port}
        clients = {way: http.client.HTTPConnection("127.0.0.1", port) for way, port in ways.items()}
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(requests):
            for way, client in clients.items():
                began = time.perf_counter()
                client.request("POST", "/v2/models/m/infer", b"x" * 200)
                assert client.getresponse().read() == ANSWER
                took[way].append((time.perf_counter() - began) * 1000)
        for process in (relay, door):
            process.terminate()
            process.wait(10)
    told = {
        way: {"p50_ms": round(sorted(each)[len(each) // 2], 3),
              "p99_ms": round(sorted(each)[len(each) * 99 // 100], 3)}
        for way, each in took.items()
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1500)
