"""Without an engine there is a reason to show, and no exception."""

import socket
import threading

import pytest

from packager.oci.docker_engine import NoEngine, engine


def test_no_engine_is_false_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    found = engine()
    assert isinstance(found, NoEngine)
    assert not found
    assert f"{tmp_path}/none.sock" in found.reason


def test_an_engine_of_another_machine_is_not_used(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    found = engine()
    assert isinstance(found, NoEngine)
    assert "not on this machine" in found.reason


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK's own socket, when it fails
def test_something_else_behind_the_socket(tmp_path, monkeypatch):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up():
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        found = engine()
        listener.shutdown(socket.SHUT_RDWR)
    assert isinstance(found, NoEngine)
    assert "does not answer" in found.reason
