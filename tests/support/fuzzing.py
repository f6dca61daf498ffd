"""Hostile bytes for the parsers: a moment in tests, long in `benchmarks/runtime/fuzz.py`.

Valid requests over REST (JSON, binary, raw, packed, classes, embeddings), valid messages over gRPC
and valid frames of HTTP/2 are mutated and sent to a real server. Wrong are: a status from 500 on
that is not meant (501, 503, 505), a line `fault` in the journal, an answer that does not come, a
process that ends. The first input for each new answer is the corpus.
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
from hpack import Encoder
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.grpc_service.messages import message
from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode

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
        ports = (process.port, process.log[-1]["grpc_port"])
        found, corpus = _attack(ports, channel, seconds, random.Random(seed))
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
    ports: tuple[int, int], channel: grpc.Channel, seconds: float, rng: random.Random
) -> tuple[dict[str, Any], dict[str, str]]:
    port, remote_port = ports
    rest, remote = _requests(), _messages()
    pieces = _frames(remote)
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
        data = _mutated_frames(rng, pieces)
        told = _framed(remote_port, data)
        counts[f"HTTP/2 {told}"] += 1
        _keep(corpus, f"HTTP/2 {told}", data)
        if "INTERNAL" in told:
            wrong.append(f"HTTP/2 {told} {base64.b64encode(data).decode()}")
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


def _framed(port: int, data: bytes) -> str:
    """What came back for frames: kinds, and the error codes of RST_STREAM and GOAWAY. A server that
    waits for more is left after a moment, as its own patience is tested elsewhere."""
    found: list[str] = []
    with socket.create_connection(("127.0.0.1", port), timeout=0.25) as peer:
        reader = frames.FrameReader()
        try:
            peer.sendall(frames.PREFACE + data)
            while chunk := peer.recv(65536):
                for kind, _, _, payload in reader.feed(chunk):
                    if kind == frames.RST_STREAM:
                        found.append("reset " + ErrorCode(int.from_bytes(payload, "big")).name)
                    elif kind == frames.GOAWAY:
                        return "goaway " + ErrorCode(int.from_bytes(payload[4:8], "big")).name
                    elif kind == frames.HEADERS:
                        found.append("answer")
                if found.count("answer") > 1:
                    break
        except TimeoutError:
            found.append("waits")
        except OSError:
            found.append("closed")
    return " ".join(dict.fromkeys(found)) or "closed"


def _mutated_frames(rng: random.Random, pieces: list[bytes]) -> bytes:
    """Some frames in some order, most of them as they should be."""
    chosen = [frames.settings({})] + [rng.choice(pieces) for _ in range(rng.randrange(1, 8))]
    if rng.random() < 0.3:
        rng.shuffle(chosen)
    if rng.random() < 0.8:
        place = rng.randrange(len(chosen))
        chosen[place] = _mutated(rng, chosen[place], pieces)
    return b"".join(chosen)


def _frames(messages: dict[str, bytes]) -> list[bytes]:
    """Frames of every kind on streams 1 to 7, by themselves and as whole calls."""
    found = [
        frames.settings({1: 0, 4: 100, 5: 1 << 15}),
        frames.SETTINGS_ACK,
        *(frames.window_update(stream, size) for stream in (0, 1, 3) for size in (1, 1 << 30)),
        *(frames.rst_stream(stream, ErrorCode.CANCEL) for stream in (1, 3)),
        frames.frame(frames.PING, 0, 0, b"12345678"),
        frames.frame(frames.PRIORITY, 0, 3, bytes(5)),
        frames.goaway(0, ErrorCode.NO_ERROR),
        frames.frame(frames.DATA, frames.PADDED, 1, b"\3abcdef"),
    ]
    for stream, (name, data) in zip((1, 3, 5, 7, 9), messages.items(), strict=True):
        fields = [
            (":method", "POST"), (":scheme", "http"), ("te", "trailers"),
            (":path", f"/inference.GRPCInferenceService/{name}"),
            ("content-type", "application/grpc"), ("grpc-timeout", "5S"),
        ]  # fmt: skip
        fields.sort(key=lambda field: not field[0].startswith(":"))
        block = Encoder().encode(fields, huffman=stream != 3)
        body = b"\0" + len(data).to_bytes(4, "big") + data
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block)
        begun = frames.frame(frames.HEADERS, 0, stream, block[:9])
        rest = frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream, block[9:])
        last = frames.frame(frames.DATA, frames.END_STREAM, stream, body)
        found += [head, begun, rest, last, head + last, head + last, begun + rest + last]
    return found


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
    best = {"name": "scores", "parameters": {"classification": 2, "binary_data": True}}
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
        _post("classifier", json.dumps(plain | {"outputs": [best, best]}).encode()),
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
    infer.outputs.add(name="scores").parameters["classification"].int64_param = 2
    named = {"name": "classifier"}
    return {
        "ModelInfer": infer.SerializeToString(),
        "ModelMetadata": message("inference.ModelMetadataRequest")(**named).SerializeToString(),
        "ModelReady": message("inference.ModelReadyRequest")(**named).SerializeToString(),
        "ModelConfig": message("inference.ModelConfigRequest")(**named).SerializeToString(),
        "ModelStatistics": message("inference.ModelStatisticsRequest")(**named).SerializeToString(),
    }
