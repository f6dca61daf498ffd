"""`packager bench` against the real runtime: what it asks, what it counts, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certificates import Authority
from runtime_process import RuntimeProcess
from tiny_models import ONNX_TYPES, RuntimeFolder, spinner, tensor

from packager.bench.benching import Asked, LoadRecord, Sweep, bench
from packager.bench.load import Bounds
from packager.bench.question import from_metadata
from packager.bench.report import html_report
from packager.bench.server import Identity, Server
from packager.errors import InputError, UnavailableError
from packager.progress import SILENT

KEY = "s3cret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    for datatype in ONNX_TYPES:
        folder.add_identity(datatype, [-1, 2])
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


def url(process: RuntimeProcess) -> str:
    return f"http://127.0.0.1:{process.port}"


def load(
    address: str, asked: Asked, clients: tuple[int, ...] = (2,), rates: tuple[float, ...] = ()
) -> LoadRecord:
    bounds = Bounds(20, requests=40, patience=10)
    sweep = Sweep(clients, rates, bounds, warm_up=0)
    return bench(Server.at(address, Identity()), asked, sweep, SILENT)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", sorted(ONNX_TYPES))
def test_every_datatype_can_be_asked(server: RuntimeProcess, datatype: str, binary: bool) -> None:
    async def ask() -> int:
        whom = Server.at(url(server), Identity())
        question = await from_metadata(whom, datatype.lower(), None, 3, binary)
        (request,) = question.requests
        return (await whom.ask(request))[0]

    status = asyncio.run(ask())
    # What has no JSON form is asked as binary, but then the answer may not be JSON either.
    assert status == (200 if binary or datatype not in ("FP16", "BF16") else 400)


def test_both_loops_count_what_they_asked(server: RuntimeProcess) -> None:
    record = load(url(server), Asked("classifier", rows=4), (1, 3), (200.0,))
    assert [(one.loop, one.load) for one in record.steps] == [
        ("closed", 1),
        ("closed", 3),
        ("open", 200),
    ]
    for one in record.steps:
        assert one.succeeded == 40
        assert one.failures == {}
        assert 0 < one.latency_ms["p50"] <= one.latency_ms["p99"] <= one.latency_ms["max"]
        assert one.as_dict()["rows_per_second"] == pytest.approx(4 * one.per_second, rel=0.01)
    assert record.steps[2].seconds > 0.1, "40 requests at 200 a second take a fifth of one"
    assert record.server["release"]["name"] == "tiny"


def test_samples_are_asked_in_turn(server: RuntimeProcess, tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.arange(20, dtype=np.float32).reshape(5, 4))
    whom = Server.at(url(server), Identity())
    question = asyncio.run(from_metadata(whom, "classifier", samples, 2, True))
    assert len(set(question.requests)) == 5
    np.savez(samples, other=np.zeros(3))
    with pytest.raises(InputError, match="lack an input"):
        asyncio.run(from_metadata(whom, "classifier", samples, 1, True))


def test_any_path_can_be_asked(server: RuntimeProcess, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text("{}")
    record = load(url(server), Asked(path="/v2/repository/index", body=body))
    assert record.steps[0].succeeded == 40


def test_what_is_refused_is_counted_apart(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    io = [tensor("x", "FP32", [-1, 4])], [tensor("y", "FP32", [-1, 4])]
    folder.add("slow", spinner(60_000), *io)
    folder.document["http"]["max_concurrency"] = 1
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        (one,) = load(url(process), Asked("slow"), (4,)).steps
    assert one.succeeded + one.failures["HTTP 503"] == 40
    assert one.refused_p99_ms is not None


def test_a_server_that_vanishes_hangs_nobody(tmp_path: Path) -> None:
    async def answer_twice_then_leave(reader: Any, writer: Any) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async def serve(body: Path) -> None:
        listener = await asyncio.start_server(answer_twice_then_leave, "127.0.0.1", 0)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            asked = Asked(path="/x", body=body)
            record = await asyncio.to_thread(load, f"http://127.0.0.1:{port}", asked, (3,))
        (one,) = record.steps
        assert one.failures["no answer"] >= 6
        assert one.succeeded + one.failures["no answer"] >= 40

    body = tmp_path / "body"
    body.write_text("{}")
    # The first question, GET /v2, has no body; one that has two bytes of nothing will do.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "document", _nothing)
        asyncio.run(serve(body))


async def _nothing(*_: object) -> None:
    return None


def test_a_key_and_an_authority_of_our_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, private = authority.issue("server")
    keys = tmp_path / "keys"
    keys.write_text(f"bench {hashlib.sha256(KEY.encode()).hexdigest()}\n")
    folder = RuntimeFolder(tmp_path / "image")
    folder.add_classifier()
    environment = {
        "PACKAGER_API_KEYS_FILE": str(keys),
        "PACKAGER_TLS_CERTIFICATE_FILE": str(certificate),
        "PACKAGER_TLS_KEY_FILE": str(private),
    }
    sweep = Sweep((2,), (), Bounds(10, requests=10), warm_up=0)
    with RuntimeProcess(folder.write(), environment=environment) as process:
        process.wait_ready()
        address = f"https://127.0.0.1:{process.port}"
        known = Server.at(address, Identity(KEY, authority.certificate))
        assert bench(known, Asked(), sweep, SILENT).steps[0].succeeded == 10
        with pytest.raises(InputError, match="does not know us"):
            bench(Server.at(address, Identity(None, authority.certificate)), Asked(), sweep, SILENT)
        with pytest.raises(UnavailableError, match="did not answer"):
            bench(Server.at(address, Identity(KEY)), Asked(), sweep, SILENT)
    assert KEY not in repr(Identity(KEY))


def test_nobody_there() -> None:
    with pytest.raises(UnavailableError):
        load("http://127.0.0.1:1", Asked("m"))
    with pytest.raises(InputError):
        Server.at("ftp://127.0.0.1", Identity())


def test_the_command_and_its_report(server: RuntimeProcess, packager: Any, tmp_path: Path) -> None:
    report = tmp_path / "load.html"
    outcome = packager(
        *("bench", url(server), "--model", "classifier", "--clients", "1,2", "--rate", "100"),
        *("--requests", "20", "--warm-up", "0", "-o", report, "--json"),
    )
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document["kind"] == "LoadRecord"
    assert [one["succeeded"] for one in document["steps"]] == [20, 20, 20]
    page = report.read_text()
    assert page.count("<svg") == 2
    assert "http://www" not in page
    assert "<script" not in page
    assert html_report(document) == page


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("release",), 2, "--key"),
        (("http://127.0.0.1:1", "--path", "/x"), 2, "go together"),
        (("http://127.0.0.1:1", "--clients", "0"), 2, "above 0"),
        (("http://127.0.0.1:1", "--record", "x"), 2, "needs a RELEASE"),
        (("http://127.0.0.1:1",), 5, "did not answer"),
        (("http://127.0.0.1:1", "--api-key", "env://NOT_THERE"), 1, "cannot be read"),
    ],
)
def test_wrong_use_is_told(packager: Any, arguments: tuple[str, ...], code: int, told: str) -> None:
    outcome = packager("bench", *arguments)
    assert outcome.code == code
    assert told in outcome.err
