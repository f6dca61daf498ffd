"""The relay: whole answers both ways, half-closed connections, and an end when it is closed."""

import contextlib
import socket
import threading

import pytest

from packager.errors import UnavailableError
from packager.oci.loopback_relay import LoopbackRelay


@pytest.fixture
def echo():
    """A server that answers with everything it got, once the client has said all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    said = b""
                    while data := client.recv(65536):
                        said += data
                    client.sendall(said[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_carries_both_directions(echo):
    relay = LoopbackRelay(0, echo)
    said = bytes(range(256)) * 8000
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        heard = b""
        while data := client.recv(65536):
            heard += data
    assert heard == said[::-1]
    relay.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", relay.port), timeout=5)


def test_two_hundred_callers_at_once(echo):
    relay = LoopbackRelay(0, echo)
    with contextlib.ExitStack() as open_:
        clients = [
            open_.enter_context(socket.create_connection(("127.0.0.1", relay.port), timeout=30))
            for _ in range(200)
        ]
        for number, client in enumerate(clients):
            client.sendall(b"%03d" % number)
            client.shutdown(socket.SHUT_WR)
        assert [client.recv(3)[::-1] for client in clients] == [b"%03d" % n for n in range(200)]
    relay.close()


def test_nobody_behind_it_closes_the_connection():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()
    relay = LoopbackRelay(0, nobody)
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as client:
        assert client.recv(1) == b""
    relay.close()


def test_a_port_that_is_taken(echo):
    with pytest.raises(UnavailableError, match="port"):
        LoopbackRelay(echo[1], echo)
