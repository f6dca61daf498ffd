"""The site's door as a real process: what it carries and refuses; a switch loses nothing."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from packager.resources import data_folder

PORT = 18431
GRPC_PORT = 18432
DOOR = data_folder("templates") / "site" / "door.py"


class Version(BaseHTTPRequestHandler):
    """Says which version it is; `/slow` takes half a second, `/die` closes without a word,
    `/half` in the midst of its answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            time.sleep(0.5)
        if self.path == "/die" and self.server.dies:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.path == "/half" and self.server.dies:
            self.send_response(200)
            self.send_header("Content-Length", "80000")
            self.end_headers()
            self.wfile.write(b"never whole")
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.path == "/starting" and self.server.starting:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (self.server.name.encode(), body):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.answer(self.server.name.encode() + b":" + body)

    def do_GET(self):
        told = ",".join(sorted(name.lower() for name in self.headers))
        self.answer(f"{self.server.name} {told}".encode())

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    dies = False
    starting = False
    request_queue_size = 128


@pytest.fixture
def versions():
    """Two versions, at 127.0.0.2 and 127.0.0.3: the door resolves names, and these are names."""
    started = []
    for name in ("127.0.0.2", "127.0.0.3"):
        try:
            server = Server((name, PORT), Version)
        except OSError:
            pytest.skip("this machine has only one loopback address, or the port is taken")
        server.name = name
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
    yield started
    for server in started:
        server.shutdown()
        server.server_close()


# A resolver that takes its time over a container that is gone, as on a machine with too much to do.
SLOW_RESOLVER = """
import socket, time
look_up = socket.getaddrinfo
def slow(name, *rest, **named):
    if name == "gone":
        time.sleep(6)
        raise socket.gaierror("nobody of that name")
    return look_up(name, *rest, **named)
socket.getaddrinfo = slow
"""


# A network that gives addresses out anew: names are looked up in a file that changes.
MOVING = """
import json, pathlib, socket
look_up = socket.getaddrinfo
def moved(name, *rest, **named):
    return look_up(json.loads(pathlib.Path({hosts!r}).read_text()).get(name, name), *rest, **named)
socket.getaddrinfo = moved
"""


class Door:
    def __init__(self, folder: Path, before: str = "") -> None:
        self.state = folder / "state"
        self.name(serving="127.0.0.2")
        # As shipped but for its patience with a version that does not answer.
        text = before + DOOR.read_text().replace("CONNECT_SECONDS = 10", "CONNECT_SECONDS = 1")
        ports = f"{PORT},{GRPC_PORT}"
        program = [sys.executable, "-I", "-c", text, self.state, "127.0.0.1:0", ports, "5"]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().split()[1])

    def name(self, **slots: str) -> None:
        scratch = self.state.with_suffix(".new")
        scratch.write_text("".join(f"{key}={value}\n" for key, value in slots.items()))
        scratch.rename(self.state)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            found = b""
            while more := connection.recv(65536):
                found += more
            return found


@pytest.fixture
def door(tmp_path, versions):
    started = Door(tmp_path)
    yield started
    started.process.terminate()
    assert started.process.wait(10) == 0
    started.process.stdout.close()


def ask(client, method="POST", path="/", body=b"x", headers=None):
    client.request(method, path, body, headers or {})
    answer = client.getresponse()
    return answer.status, answer.read()


def once(door, **how):
    client = door.client()
    try:
        return ask(client, **how)
    finally:
        client.close()


def test_requests_of_all_forms_come_through_one_connection(door):
    client = door.client()
    assert ask(client) == (200, b"127.0.0.2:x")
    big = os.urandom(3_000_000)
    assert ask(client, body=big) == (200, b"127.0.0.2:" + big)
    client.request("POST", "/", iter([b"ab", b"cd"]), encode_chunked=True)
    assert client.getresponse().read() == b"127.0.0.2:abcd"
    assert ask(client, path="/chunks") == (200, b"127.0.0.2x")
    assert ask(client, "HEAD", body=None)[0] == 200
    status, told = ask(
        client, "GET", body=None, headers={"Keep-Alive": "9", "Packager-Slot": "127.0.0.2"}
    )
    assert status == 200
    assert b"keep-alive" not in told
    assert b"packager-slot" not in told
    client.close()


def test_a_switch_moves_the_next_request_of_an_open_connection(door):
    client = door.client()
    assert ask(client)[1].startswith(b"127.0.0.2")
    door.name(serving="127.0.0.3")
    assert ask(client)[1].startswith(b"127.0.0.3")
    client.close()


def test_a_request_that_began_before_the_switch_is_finished_by_the_old_version(door):
    answers = queue.Queue()
    asked = threading.Thread(target=lambda: answers.put(once(door, path="/slow")))
    asked.start()
    time.sleep(0.2)
    door.name(serving="127.0.0.3")
    asked.join()
    assert answers.get() == (200, b"127.0.0.2:x")


def test_no_request_is_lost_while_versions_are_switched_under_load(door):
    stop, answers, failures = threading.Event(), [], []

    def load(keep):
        client = door.client()
        while not stop.is_set():
            try:
                answers.append(ask(client))
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)
            if not keep:
                client.close()
        client.close()

    threads = [threading.Thread(target=load, args=(keep,)) for keep in (True, True, False)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        time.sleep(0.1)
        door.name(serving=("127.0.0.3", "127.0.0.2")[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {status for status, _ in answers} == {200}
    assert {body for _, body in answers} == {b"127.0.0.2:x", b"127.0.0.3:x"}


def test_who_stands_by_answers_for_one_that_cannot_just_now(door, versions):
    versions[1].starting = True
    door.name(serving="127.0.0.3")
    assert once(door, path="/starting")[0] == 503
    door.name(serving="127.0.0.3", fallback="127.0.0.2")
    assert once(door, path="/starting") == (200, b"127.0.0.2:x")


def test_only_a_candidate_is_reached_by_name(door):
    asked = {"Packager-Slot": "127.0.0.3"}
    assert once(door, headers=asked)[0] == 503
    door.name(serving="127.0.0.2", candidate="127.0.0.3")
    assert once(door, headers=asked) == (200, b"127.0.0.3:x")
    assert once(door)[1].startswith(b"127.0.0.2")


def test_who_stands_by_answers_for_one_that_ends_without_a_word(door, versions):
    versions[1].dies = True
    door.name(serving="127.0.0.3")
    assert once(door, path="/die")[0] == 502  # three tries, and nobody else
    door.name(serving="127.0.0.3", fallback="127.0.0.2")
    assert once(door, path="/die") == (200, b"127.0.0.2:x")
    big = b"x" * 300_000  # too long to be kept for another
    assert once(door, path="/die", body=big)[0] == 502
    versions[1].shutdown()
    versions[1].server_close()
    assert once(door, path="/die") == (200, b"127.0.0.2:x")


def test_who_stands_by_answers_for_one_that_ends_in_the_midst(door, versions):
    """A small answer is passed on when it is whole, as long as somebody else could give it."""
    versions[1].dies = True
    door.name(serving="127.0.0.3")
    with pytest.raises(http.client.IncompleteRead):
        once(door, path="/half")  # nobody else: what came is what there is
    door.name(serving="127.0.0.3", fallback="127.0.0.2")
    assert once(door, path="/half") == (200, b"127.0.0.2:x")


def test_an_address_that_went_to_somebody_else_is_not_asked_any_more(tmp_path, versions):
    hosts = tmp_path / "hosts"

    def addresses(**named: str) -> None:
        scratch = hosts.with_suffix(".new")
        scratch.write_text(json.dumps(named))
        scratch.replace(hosts)

    addresses(old="127.0.0.2", new="127.0.0.3")
    door = Door(tmp_path, MOVING.format(hosts=str(hosts)))
    try:
        door.name(serving="old", candidate="new")
        assert once(door) == (200, b"127.0.0.2:x")
        assert once(door, headers={"Packager-Slot": "new"}) == (200, b"127.0.0.3:x")
        # Both were started again while nobody asked; the candidate is tested at once.
        addresses(old="127.0.0.3", new="127.0.0.2")
        assert once(door, headers={"Packager-Slot": "new"}) == (200, b"127.0.0.2:x")
        door.name(serving="new")
        assert once(door) == (200, b"127.0.0.2:x")
        # Who comes back into service is where it is now, whatever was known.
        door.name(serving="old", fallback="new")
        assert once(door) == (200, b"127.0.0.3:x")
        # What its engine starts again stays in service, and is found again by itself.
        addresses(old="127.0.0.2", new="127.0.0.3")
        last = time.monotonic() + 20
        while once(door) != (200, b"127.0.0.2:x"):
            assert time.monotonic() < last, "the door goes on asking who has the old address"
            time.sleep(0.2)
    finally:
        door.process.kill()
        door.process.communicate()


def test_nobody_waits_long_for_the_name_of_one_that_is_gone(tmp_path, versions):
    door = Door(tmp_path, SLOW_RESOLVER)
    try:
        door.name(serving="gone", fallback="127.0.0.2")
        took = queue.SimpleQueue()

        def caller():
            began = time.monotonic()
            took.put((once(door), time.monotonic() - began))

        callers = [threading.Thread(target=caller) for _ in range(20)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
        answers = [took.get() for _ in callers]
    finally:
        door.process.kill()
        door.process.wait()
        door.process.stdout.close()
    assert {answer for answer, _ in answers} == {(200, b"127.0.0.2:x")}
    assert max(seconds for _, seconds in answers) < 5.5


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\n folded: x\r\n\r\n", b"400"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_ambiguous_is_refused_and_reaches_no_server(door, head, status):
    assert door.raw(head).startswith(b"HTTP/1.1 " + status)


def test_with_nobody_in_service_callers_are_told_to_come_again(door):
    door.name(serving="127.0.0.9")
    status, told = once(door)
    assert status == 503
    assert b"no version answers" in told


def test_http_2_is_carried_as_bytes_to_the_port_of_grpc(door):
    with socket.create_server(("127.0.0.2", GRPC_PORT)) as listener:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        with socket.create_connection(("127.0.0.1", door.port), timeout=20) as client:
            client.sendall(preface)
            there, _ = listener.accept()
            with there:
                there.settimeout(20)
                found = b""
                while len(found) < len(preface):
                    found += there.recv(100)
                assert found == preface
                there.sendall(b"frames")
                assert client.recv(100) == b"frames"


def test_it_leaves_when_told_and_finishes_what_it_carries(door):
    answers = queue.Queue()
    asked = threading.Thread(target=lambda: answers.put(once(door, path="/slow")))
    asked.start()
    time.sleep(0.2)
    door.process.send_signal(signal.SIGTERM)
    asked.join()
    assert answers.get()[0] == 200
    assert door.process.wait(10) == 0
