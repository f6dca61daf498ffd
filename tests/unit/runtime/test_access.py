"""Who may ask: keys, certificates, both changed while the server runs, and no open door."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from pathlib import Path

import pytest
from certificates import Authority
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.errors import ExitCode

REQUEST = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)
INFER = "/v2/models/classifier/infer"


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    return folder


def keys(path: Path, **named: str) -> Path:
    path.write_text(
        "# name and SHA-256 of the key\n"
        + "".join(
            f"{name} {hashlib.sha256(key.encode()).hexdigest()}\n" for name, key in named.items()
        )
    )
    return path


def test_without_a_known_key_nothing_but_health(folder: RuntimeFolder, tmp_path: Path) -> None:
    file = keys(tmp_path / "keys", clinic="s3cret")
    with RuntimeProcess(
        folder.write(), environment={"PACKAGER_API_KEYS_FILE": str(file)}
    ) as server:
        client = server.wait_ready().client()

        def infer(**headers: str) -> int:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            return client.request("POST", INFER, REQUEST.encode(), named)[0]

        assert client.get("/v2/health/ready")[0] == 200
        for path in ("/", "/v2", "/metrics", "/openapi.json", "/v2/models/classifier"):
            assert client.request("GET", path)[0] == 401
        status, headers, body = client.request("POST", INFER, REQUEST.encode())
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert "error" in json.loads(body)
        assert infer(Authorization="Bearer wrong") == 401
        assert infer(Authorization="Bearer s3cret") == 200
        assert infer(X_API_Key="s3cret") == 200
        keys(file, clinic="0ther")
        server.wait_event("reloaded", 10)
        assert infer(X_API_Key="s3cret") == 401
        assert infer(X_API_Key="0ther") == 200
        file.write_text("broken")
        assert "line 1" in server.wait_event("reload_failed", 10)["why"]
        assert infer(X_API_Key="0ther") == 200
        client.close()
        assert server.stop() == 0
        assert "s3cret" not in json.dumps(server.log) + server.stderr()


def test_a_door_that_is_open_to_others_is_not_opened(folder: RuntimeFolder, tmp_path: Path) -> None:
    outside = ("--host", "0.0.0.0", "--port", "0")
    with RuntimeProcess(folder.write(), arguments=outside) as server:
        assert server.wait() == ExitCode.CONFIGURATION
        assert "PACKAGER_EXPOSURE=platform" in server.stderr()
    file = keys(tmp_path / "keys", clinic="s3cret")
    with RuntimeProcess(
        folder.write(), arguments=outside, environment={"PACKAGER_API_KEYS_FILE": str(file)}
    ) as server:
        assert server.wait() == ExitCode.CONFIGURATION
    with RuntimeProcess(
        folder.write(), arguments=outside, environment={"PACKAGER_EXPOSURE": "platform"}
    ) as server:
        server.wait_ready()
        assert server.stop() == 0
    folder.document["access"] = {"exposure": "platform"}
    with RuntimeProcess(folder.write(), arguments=outside) as server:
        server.wait_ready()
        assert server.stop() == 0
    with RuntimeProcess(
        folder.write(), arguments=outside, environment={"PACKAGER_EXPOSURE": "self"}
    ) as server:
        assert server.wait() == ExitCode.CONFIGURATION


def https(port: int, context: ssl.SSLContext) -> tuple[int, bytes, dict[str, object]]:
    head = f"POST {INFER} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall((head + REQUEST).encode())
        seen = dict(connection.getpeercert() or {})
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    if not answer:
        raise ConnectionError("closed without an answer")
    return int(answer.split()[1]), answer, seen


def test_mutual_tls_and_a_new_certificate_without_a_restart(
    folder: RuntimeFolder, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "a stranger")
    certificate, key = authority.issue("server")
    mine, my_key = authority.issue("clinic")
    environment = {
        "PACKAGER_TLS_CERTIFICATE_FILE": str(certificate),
        "PACKAGER_TLS_KEY_FILE": str(key),
        "PACKAGER_TLS_CLIENT_CA_FILE": str(authority.certificate),
        "PACKAGER_AUDIT_DIR": str(tmp_path / "audit"),
    }
    outside = ("--host", "0.0.0.0", "--port", "0")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with RuntimeProcess(folder.write(), arguments=outside, environment=environment) as server:
        port = server.wait_ready().port
        with pytest.raises((ssl.SSLError, ConnectionError)):
            https(port, context)
        foreign = ssl.create_default_context(cafile=str(authority.certificate))
        foreign.load_cert_chain(*stranger.issue("intruder"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            https(port, foreign)
        context.load_cert_chain(mine, my_key)
        status, _, first = https(port, context)
        assert status == 200
        authority.issue("server two", stem="server")
        server.wait_event("reloaded", 10)
        status, _, second = https(port, context)
        assert status == 200
        assert first["serialNumber"] != second["serialNumber"]
        certificate.write_text("broken")
        server.wait_event("reload_failed", 10)
        assert https(port, context)[0] == 200
        assert server.stop() == 0
    lines = [
        line
        for file in sorted((tmp_path / "audit").iterdir())
        for line in file.read_bytes().split(b"\n")
    ]
    events = [json.loads(line) for line in lines if line]
    assert [event["event"] for event in events] == ["started", *["inference"] * 3, "stopped"]
    assert events[1]["caller"] == "cert:clinic"
    assert events[0]["models"]["classifier/1"]
    previous = "0" * 64
    for line, event in zip(lines, events, strict=False):
        assert event["previous"] == previous
        previous = hashlib.sha256(line).hexdigest()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PACKAGER_API_KEYS_FILE": "/nonexistent"}, "PACKAGER_API_KEYS_FILE"),
        ({"PACKAGER_TLS_KEY_FILE": "/nonexistent"}, "go together"),
        ({"PACKAGER_TLS_CLIENT_CA_FILE": "/nonexistent"}, "needs PACKAGER_TLS_CERTIFICATE_FILE"),
        (
            {
                "PACKAGER_TLS_CERTIFICATE_FILE": "/nonexistent",
                "PACKAGER_TLS_KEY_FILE": "/nonexistent",
            },
            "cannot be used",
        ),
        ({"PACKAGER_EXPOSURE": "maybe"}, "must be platform or self"),
        ({"PACKAGER_AUDIT_DIR": "/proc/nonexistent"}, "cannot be written"),
    ],
)
def test_half_a_declaration_is_none(
    folder: RuntimeFolder, environment: dict[str, str], named: str
) -> None:
    began = time.monotonic()
    with RuntimeProcess(folder.write(), environment=environment) as server:
        assert server.wait() == ExitCode.CONFIGURATION
        assert named in server.stderr()
    assert time.monotonic() - began < 20
