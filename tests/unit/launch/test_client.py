"""The client, against a server that speaks the protocol literally, and one that does not."""

import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from packager.errors import InputError, PackagerError, UnavailableError
from packager.launch.client import infer, metadata, wait_ready

HEADER = "Inference-Header-Content-Length"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    answer = None  # (status, headers, body) or None: echo
    ready_after = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        if self.path == "/v2/health/ready":
            self.server.ready_after -= 1
            return self.send(200 if self.server.ready_after < 0 else 503, {}, b"loading")
        if self.server.answer:
            return self.send(*self.server.answer)
        return self.send(200, {}, json.dumps({"name": self.path}).encode())

    def do_POST(self):
        """Gives every input back as an output, byte for byte."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.answer:
            return self.send(*self.server.answer)
        length = int(self.headers[HEADER])
        asked = json.loads(body[:length])
        assert asked["parameters"] == {"binary_data_output": True}
        head = json.dumps({"model_name": "m", "outputs": asked["inputs"]}).encode()
        return self.send(200, {HEADER: str(len(head))}, head + body[length:])

    def send(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made.url = f"http://127.0.0.1:{made.server_address[1]}"
        yield made
        made.shutdown()
        thread.join()


TENSORS = {
    "bool": np.array([True, False]),
    **{
        f"{sign}int{bits}": np.arange(6, dtype=f"{sign}int{bits}").reshape(2, 3)
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    **{name: np.linspace(-1, 1, 8, dtype=name) for name in ("float16", "float32", "float64")},
    "big endian": np.arange(4, dtype=">f4"),
    "not contiguous": np.arange(12, dtype="f4").reshape(3, 4).T,
    "empty": np.zeros((0, 4), dtype="f4"),
    "scalar": np.float32(3.5).reshape(()),
}


def test_every_number_format_goes_and_comes_back(server):
    found = infer(server.url, "m", TENSORS)
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].shape == tensor.shape
        assert np.array_equal(found[name], tensor), name


def test_text_and_bytes(server):
    sent = {
        "text": np.array([["a", "ü"], ["", "long " * 99]]),
        "bytes": np.array([b"\0\xff", b""], dtype=object),
    }
    found = infer(server.url, "m", sent)
    assert found["text"].tolist() == [[b"a", "ü".encode()], [b"", b"long " * 99]]
    assert found["bytes"].tolist() == [b"\0\xff", b""]


def test_a_format_that_the_protocol_lacks(server):
    with pytest.raises(InputError, match="no such number format"):
        infer(server.url, "m", {"x": np.zeros(1, dtype=np.complex64)})


def test_json_answers_are_read_too(server):
    answer = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2.5]}]}
    server.answer = (200, {}, json.dumps(answer).encode())
    assert infer(server.url, "m", {})["y"].tolist() == [1.0, 2.5]


def outputs(*described):
    return json.dumps({"outputs": list(described)}).encode()


def binary(name, datatype, shape, size):
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": size},
    }


NOT_THE_PROTOCOL = {
    "no JSON": (b"hello", b""),
    "a list": (b"[]", b""),
    "no outputs": (b"{}", b""),
    "unknown datatype": (outputs(binary("y", "FP8", [1], 1)), b"1"),
    "too few bytes": (outputs(binary("y", "FP32", [2], 8)), b"1234"),
    "too many bytes": (outputs(binary("y", "FP32", [1], 4)), b"12345678"),
    "another shape": (outputs(binary("y", "FP32", [3], 8)), b"12345678"),
    "a BYTES element past the end": (
        outputs(binary("y", "BYTES", [1], 6)),
        struct.pack("<I", 99) + b"ab",
    ),
    "nested too deep": (b"[" * 100_000, b""),
}


@pytest.mark.parametrize("name", NOT_THE_PROTOCOL)
def test_answers_that_are_not_of_the_protocol(server, name):
    head, tail = NOT_THE_PROTOCOL[name]
    server.answer = (200, {HEADER: str(len(head))}, head + tail)
    with pytest.raises(PackagerError, match="not of the Open Inference Protocol"):
        infer(server.url, "m", {})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InputError), (404, InputError), (503, UnavailableError), (500, PackagerError)],
)
def test_refusals(server, status, kind):
    server.answer = (status, {}, b'{"error":"because"}')
    with pytest.raises(kind) as refused:
        infer(server.url, "m", {})
    assert type(refused.value) is kind
    assert "because" in refused.value.findings[0].got


def test_metadata_and_names_that_need_quoting(server):
    assert metadata(server.url, "a b/c") == {"name": "/v2/models/a%20b%2Fc"}


def test_nobody_there(server):
    url = "http://127.0.0.1:9"
    with pytest.raises(UnavailableError, match="did not answer"):
        metadata(url, "m")
    with pytest.raises(InputError, match="not the address"):
        metadata("https://127.0.0.1", "m")


def test_waits_until_ready(server):
    server.ready_after = 3
    wait_ready(server.url, 20, lambda: True)
    assert server.ready_after == -1


def test_waits_not_for_ever_and_not_for_the_dead(server):
    server.ready_after = 10**6
    with pytest.raises(UnavailableError, match="did not become ready") as refused:
        wait_ready(server.url, 0.2, lambda: True)
    assert "loading" in refused.value.findings[0].got
    with pytest.raises(PackagerError, match="ended before"):
        wait_ready(server.url, 20, lambda: False)
