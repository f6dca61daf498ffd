"""Hostile bytes for the parsers: a moment in tests, long in `benchmarks/runtime/fuzz.py`.

Valid requests over REST (JSON, binary, raw, packed, classes, embeddings) and over gRPC are mutated
and sent to a real server. Wrong are: a status from 500 on that is not meant (501, 503, 505), a line
`fault` in the journal, an answer that does not come, a process that ends. The first input for each
new answer is the corpus.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.grpc_service.messages import message

MEANT = {501, 503, 505}
TOKENS = [
    *(b"null", b"-1", b"1e999", b"9" * 40, b'"\\ud800"', b"[]", b"{}", b"true", b'"', b"\\u0000"),
    *(b"binary_data_size", b"shape", b"datatype", b"BYTES", b"FP16", b"\r\n", b"\0", b"\xff\xfe"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"HTTP/1.1"),
]


def fuzz(folder: Path, seconds: float, seed: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Outcome, and the corpus: what was answered → the first input for it (base64)."""
    image = RuntimeFolder(folder)
    image.add_classifier()
    for datatype in ("BYTES", "BOOL", "INT64", "FP16"):
        image.add_identity(datatype, [-1, 2])
    image.document["grpc"] = {"port": 0}
    image.document["http"] |= {"max_body_bytes": 1 << 16, "body_seconds": 1, "header_seconds": 1}
    with RuntimeProcess(image.write()) as process:
        process.wait_ready()
        channel = grpc.insecure_channel(f"127.0.0.1:{process.log[-1]['grpc_port']}")
        found, corpus = _attack(process.port, channel, seconds, random.Random(seed))
        channel.close()
        alive = process.process.poll() is None
        client = process.client()
        alive = alive and client.get("/v2/health/ready")[0] == 200
        client.close()
        code = process.stop()
        faults = [line for line in process.log if line["event"] == "fault"]
    wrong = found.pop("wrong") + [json.dumps(line) for line in faults]
    if not alive or code != 0:
        wrong.append(f"alive {alive}, exit code {code}")
    outcome = {"wrong": len(wrong), "first_wrong": wrong[:20], "seconds": seconds, "seed": seed}
    return found | outcome, corpus


def _attack(
    port: int, channel: grpc.Channel, seconds: float, rng: random.Random
) -> tuple[dict[str, Any], dict[str, str]]:
    rest, remote = _requests(), _messages()
    calls = {
        name: channel.unary_unary(f"/inference.GRPCInferenceService/{name}") for name in remote
    }
    counts: Counter[str] = Counter()
    corpus: dict[str, str] = {}
    wrong: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = _mutated(rng, rng.choice(rest), rest)
        status, told = _sent(port, data)
        counts[f"REST {status}"] += 1
        _keep(corpus, f"REST {status} {told}", data)
        if status == "nothing in time" or (status.isdigit() and _unmeant(int(status))):
            wrong.append(f"REST {status} {told} {base64.b64encode(data).decode()}")
        name = rng.choice(list(remote))
        data = _mutated(rng, remote[name], list(remote.values()))
        code, told = _called(calls[name], data)
        counts[f"gRPC {code}"] += 1
        _keep(corpus, f"gRPC {code} {told}", data)
        if code in ("UNKNOWN", "INTERNAL", "DEADLINE_EXCEEDED"):
            wrong.append(f"gRPC {name} {code} {told} {base64.b64encode(data).decode()}")
    return {"answers": dict(sorted(counts.items())), "wrong": wrong, "corpus": len(corpus)}, corpus


def _unmeant(status: int) -> bool:
    return status >= 500 and status not in MEANT


def _keep(corpus: dict[str, str], key: str, data: bytes) -> None:
    shape = re.sub(r"'.*?'|\".*?\"|-?\d+", "#", key)[:120]
    if len(corpus) < 2000 and len(data) < 4096:
        corpus.setdefault(shape, base64.b64encode(data).decode())


def _sent(port: int, data: bytes) -> tuple[str, str]:
    """Status and error of the first answer; "closed" without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=8) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            return "closed", ""
        answer = b""
        try:
            while len(answer) < 1 << 16 and (chunk := peer.recv(65536)):
                answer += chunk
        except TimeoutError:
            return "nothing in time", ""
        except OSError:
            pass
    found = re.match(rb"HTTP/1.1 (\d{3}) ", answer)
    if not found:
        return "closed", ""
    error = re.search(rb'\{"error":"(.*?)"', answer)
    return found[1].decode(), error[1].decode("latin-1") if error else ""


def _called(call: Any, data: bytes) -> tuple[str, str]:
    try:
        call(data, timeout=8)
    except grpc.RpcError as error:
        return error.code().name, str(error.details() or "")
    return "OK", ""


def _mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(found) + 1)
        kind = rng.randrange(7)
        if kind == 0 and found:
            found[place % len(found)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[place:place] = rng.choice(TOKENS)
        elif kind == 2:
            del found[place : place + rng.choice((1, 2, 8, 64))]
        elif kind == 3:
            found[place:place] = found[place : place + rng.randrange(1, 64)]
        elif kind == 4:
            other = rng.choice(others)
            found[place:] = other[rng.randrange(len(other)) :] if other else b""
        elif kind == 5:
            numbers = list(re.finditer(rb"\d+", found))
            if numbers:
                number = rng.choice(numbers)
                new = str(rng.choice((-1, 0, 1, 2**31, 2**63, 2**64, 10**30))).encode()
                found[number.start() : number.end()] = new
        else:
            found[place:place] = rng.randbytes(rng.randrange(1, 16))
    return bytes(found)


def _requests() -> list[bytes]:
    """Valid ones of every kind."""
    x = {"name": "x", "datatype": "FP32", "shape": [2, 4]}
    plain = {"id": "1", "inputs": [x | {"data": list(range(8))}], "outputs": [{"name": "label"}]}
    schedule = {"parameters": {"priority": 0, "timeout": 100000}}
    raw = np.arange(8, dtype=np.float32).tobytes()
    head = {
        "inputs": [x | {"parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True},
    }
    text = {"name": "x", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "ü"]}
    flags = {"name": "x", "datatype": "BOOL", "shape": [1, 2], "data": [True, False]}
    made = [
        _post("classifier", json.dumps(plain).encode()),
        _post("classifier", json.dumps(plain | schedule).encode()),
        _post("bytes", json.dumps({"inputs": [text]}).encode()),
        _post("bool", json.dumps({"inputs": [flags]}).encode()),
        _post("fp16", b"\0\1\2\3", {"Inference-Header-Content-Length": "0"}),
        _post(
            "classifier", gzip.compress(json.dumps(plain).encode()), {"Content-Encoding": "gzip"}
        ),
    ]
    binary = json.dumps(head).encode()
    fields = {"Inference-Header-Content-Length": str(len(binary))}
    made.append(_post("classifier", binary + raw, fields))
    texts = b"\1\0\0\0a\2\0\0\0bc"
    given = text | {"parameters": {"binary_data_size": len(texts)}}
    del given["data"]
    binary = json.dumps({"inputs": [given]}).encode()
    made.append(
        _post("bytes", binary + texts, {"Inference-Header-Content-Length": str(len(binary))})
    )
    for path in ("/v2", "/v2/models/classifier/config", "/v2/models/stats", "/metrics", "/"):
        made.append(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    made.append(b"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    chunked = b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"inp\r\n3\r\nuts\r\n0\r\n\r\n'
    made.append(b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\n" + chunked)
    return made


def _post(model: str, body: bytes, fields: dict[str, str] | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (fields or {}).items())
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\n{lines}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _messages() -> dict[str, bytes]:
    """Valid messages by the name of their call."""
    infer = message("inference.ModelInferRequest")(model_name="classifier", id="1")
    infer.inputs.add(name="x", datatype="FP32", shape=[2, 4])
    infer.raw_input_contents.append(np.arange(8, dtype=np.float32).tobytes())
    named = {"name": "classifier"}
    return {
        "ModelInfer": infer.SerializeToString(),
        "ModelMetadata": message("inference.ModelMetadataRequest")(**named).SerializeToString(),
        "ModelReady": message("inference.ModelReadyRequest")(**named).SerializeToString(),
        "ModelConfig": message("inference.ModelConfigRequest")(**named).SerializeToString(),
        "ModelStatistics": message("inference.ModelStatisticsRequest")(**named).SerializeToString(),
    }
