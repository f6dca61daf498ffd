"""The client against a registry that misbehaves: retries, tokens, redirects, lies."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import UnavailableError
from packager.oci.reference import Reference
from packager.oci.registry_client import Repository

DATA = b"weights" * 100_000
DIGEST = Digest.of(DATA)


class Registry(ThreadingHTTPServer):
    """Answers from `script` (method and path → list of faults), then as a registry would."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: dict[str, list] = {}
        self.seen: list[tuple[str, str, str | None]] = []
        self.stored: dict[str, bytes] = {}
        self.token: str | None = None
        self.tokens_given: list[dict] = []
        self.upload_host: str | None = None
        self.lie: str | None = None

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def asked(self):
        return [f"{method} {path}" for method, path, _ in self.seen]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def handle_any(self):
        path = urlsplit(self.path).path
        self.server.seen.append((self.command, path, self.headers.get("Authorization")))
        size = int(self.headers.get("Content-Length", 0))
        faults = self.server.script.get(f"{self.command} {path}", [])
        fault = faults.pop(0) if faults else None
        if fault == "drop":
            self.rfile.read(min(size, 1000))
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(size)
        if isinstance(fault, int):
            self.answer(fault, {"Retry-After": "7"} if fault == 429 else {})
        elif path == "/token":
            self.server.tokens_given.append(parse_qs(urlsplit(self.path).query))
            self.answer(200, body=json.dumps({"token": self.server.token}).encode())
        elif fault == "expired" or (
            self.server.token
            and self.headers.get("Authorization") != (f"Bearer {self.server.token}")
        ):
            realm = f"http://{self.server.address}/token"
            self.answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="me"'})
        else:
            self.serve(path, body)

    def serve(self, path, body):
        if self.command == "HEAD":
            self.answer(200 if path.rpartition("/")[2] in self.server.stored else 404)
        elif self.command == "POST":
            host = self.server.upload_host or ""
            self.answer(202, {"Location": f"{host}/upload/1?state=abc"})
        elif path.startswith("/upload/"):
            query = parse_qs(urlsplit(self.path).query)
            assert query["state"] == ["abc"]
            (digest,) = query["digest"]
            right = str(Digest.of(body)) == digest
            if right:
                self.server.stored[digest] = body
            self.answer(201 if right else 400)
        elif self.command == "PUT":
            told = self.server.lie or str(Digest.of(body))
            self.answer(201, {"Docker-Content-Digest": told})
        else:
            self.answer(200)

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with serving() as server:
        yield server


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def repository(registry, pauses):
    reference = Reference.parse(f"{registry.address}/ml/tiny:1")
    with Repository(reference, pause=pauses.append) as client:
        yield client


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    return path


def ignore(_):
    pass


@pytest.mark.parametrize("fault", [500, 503, "drop"])
@pytest.mark.parametrize("step", ["POST /v2/ml/tiny/blobs/uploads/", "PUT /upload/1"])
def test_what_passes_by_itself_is_tried_again(registry, repository, blob, pauses, fault, step):
    registry.script[step] = [fault, fault]
    repository.push_blob(DIGEST, len(DATA), blob, ignore)
    assert registry.stored == {str(DIGEST): DATA}
    assert pauses == [0.5, 1.0]


def test_the_registry_says_how_long_to_wait(registry, repository, pauses):
    registry.script["GET /v2/"] = [429]
    repository.ping()
    assert pauses == [7.0]


def test_not_for_ever(registry, repository, blob, pauses):
    registry.script["PUT /upload/1"] = [503] * 99
    with pytest.raises(UnavailableError) as refused:
        repository.push_blob(DIGEST, len(DATA), blob, ignore)
    (finding,) = refused.value.findings
    assert finding.where == f"{registry.address}/ml/tiny"
    assert str(DIGEST) in finding.what
    assert "503" in finding.got
    assert len(pauses) == 3


def test_what_does_not_pass_is_not_tried_again(registry, repository, blob, pauses):
    with pytest.raises(UnavailableError, match="upload"):
        repository.push_blob(Digest.of(b"other"), len(DATA), blob, ignore)
    registry.script["GET /v2/"] = [404]
    with pytest.raises(UnavailableError):
        repository.ping()
    assert pauses == []


def test_nobody_there(pauses):
    with serving() as gone:
        reference = Reference.parse(f"{gone.address}/ml/tiny:1")
    with (
        Repository(reference, pause=pauses.append) as client,
        pytest.raises(UnavailableError) as refused,
    ):
        client.ping()
    assert refused.value.findings[0].where == f"{reference.host}/ml/tiny"


def test_a_token_is_fetched_and_used(registry, repository, blob):
    registry.token = "secret-token"
    repository.push_blob(DIGEST, len(DATA), blob, ignore)
    assert registry.stored == {str(DIGEST): DATA}
    assert registry.tokens_given == [{"service": ["me"], "scope": ["repository:ml/tiny:pull,push"]}]


def test_a_token_that_runs_out_during_an_upload(registry, repository, blob, pauses):
    registry.token = "secret-token"
    registry.script["PUT /upload/1"] = ["expired"]
    repository.push_blob(DIGEST, len(DATA), blob, ignore)
    assert registry.stored == {str(DIGEST): DATA}
    assert len(registry.tokens_given) == 2
    assert pauses == [0.5]


def test_credentials_that_stay_wrong_are_told_at_once(registry, repository, pauses):
    registry.token = "secret-token"
    registry.script["GET /v2/"] = ["expired"] * 9
    with pytest.raises(UnavailableError) as refused:
        repository.ping()
    assert "401" in refused.value.findings[0].got
    assert pauses == []


def test_credentials_never_go_to_another_host(registry, repository, blob):
    registry.token = "secret-token"
    with serving() as storage:
        registry.upload_host = f"http://{storage.address}"
        repository.push_blob(DIGEST, len(DATA), blob, ignore)
        assert storage.stored == {str(DIGEST): DATA}
        assert [authorization for _, _, authorization in storage.seen] == [None]


def test_a_token_service_without_tls_elsewhere_is_refused(registry, repository):
    class Elsewhere(Handler):
        def serve(self, path, body):
            realm = "http://token.example.de/token"
            self.answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'})

    registry.RequestHandlerClass = Elsewhere
    # Loopback counts as plain HTTP on purpose, so the strict case needs a strict client.
    repository._access._plain_http = False
    with pytest.raises(UnavailableError, match="without TLS"):
        repository.ping()


def test_a_registry_that_stores_something_else(registry, repository):
    registry.lie = f"sha256:{'0' * 64}"
    with pytest.raises(UnavailableError) as refused:
        repository.push_manifest("1", b"{}", MediaType.MANIFEST)
    assert registry.lie in refused.value.findings[0].got


def test_progress_tells_every_byte(registry, repository, blob):
    told = []
    repository.push_blob(DIGEST, len(DATA), blob, told.append)
    assert sum(told) == len(DATA)
    repository.push_blob(DIGEST, len(DATA), blob, told.append)
    assert sum(told) == 2 * len(DATA)
    assert registry.asked.count("PUT /upload/1") == 1
