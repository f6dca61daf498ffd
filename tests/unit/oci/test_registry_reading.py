"""A blob of a registry is read on from where the connection broke, and from wherever is asked."""

from __future__ import annotations

import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from packager.digest import Digest
from packager.errors import UnavailableError, VerificationError
from packager.oci.registry_reading import ImageName, RemoteImages

DATA = random.Random(3).randbytes(8 << 20)
BLOB = Digest.of(DATA)


class Registry(ThreadingHTTPServer):
    """One blob; each answer breaks off after `breaks` bytes while there are numbers in it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.breaks: list[int] = []
        self.ranges = True
        self.sent = 0
        self.asked: list[str] = []

    def handle_error(self, *_: object) -> None:
        """Whoever has seen enough hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        if not self.path.endswith(f"/blobs/{BLOB}"):
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        self.server.asked.append(asked)
        found = re.fullmatch(r"bytes=(\d+)-", asked) if self.server.ranges else None
        start = int(found[1]) if found else 0
        if start >= len(DATA):
            self.send_error(416)
            return
        data = DATA[start:]
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.server.breaks:
            data = data[: self.server.breaks.pop(0)]
        self.server.sent += len(data)
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry():
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def images(registry):
    with RemoteImages(ImageName.parse(f"127.0.0.1:{registry.server_address[1]}/ml/x:1")) as found:
        yield found


def test_a_broken_connection_costs_no_byte_twice(registry, images):
    registry.breaks = [3 << 20, 1, 2 << 20]
    with images.blob(BLOB) as stream:
        assert Digest.of(stream.read()) == BLOB
    assert registry.sent == len(DATA)
    assert registry.asked == [
        "", f"bytes={3 << 20}-", f"bytes={(3 << 20) + 1}-", f"bytes={(5 << 20) + 1}-"
    ]  # fmt: skip


def test_without_ranges_it_is_read_again_and_right(registry, images):
    registry.ranges = False
    registry.breaks = [5 << 20]
    with images.blob(BLOB) as stream:
        assert Digest.of(stream.read()) == BLOB
    assert registry.sent == len(DATA) + (5 << 20)


@pytest.mark.parametrize("ranges", [True, False])
def test_it_can_seek(registry, images, ranges):
    registry.ranges = ranges
    with images.blob(BLOB) as stream:
        stream.seek(7 << 20)
        assert stream.read(10) == DATA[7 << 20 : (7 << 20) + 10]
        stream.seek(5)
        assert stream.read(10) == DATA[5:15]
        stream.seek(len(DATA))
        assert stream.read(1) == b""


def test_one_that_never_gets_further_is_unavailable(registry, images):
    registry.breaks = [10] + [0] * 20
    with images.blob(BLOB) as stream, pytest.raises(UnavailableError):
        stream.read()


def test_a_blob_that_is_not_there_is_a_verification_error(images):
    with pytest.raises(VerificationError, match="does not have"), images.blob(Digest.of(b"x")):
        pass
