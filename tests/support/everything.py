"""A server with every optional feature on, and a client that asks each of them: gRPC and its health
watched, embeddings, classes of an image, a second version, TLS both ways, keys, records, traces,
metrics, statistics, status page, OpenAPI, and requests that are wrong in every part of the server.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
from certificates import Authority
from PIL import Image
from tiny_models import RuntimeFolder, brightness, embedder, tensor
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from packager.runtime.grpc_service.messages import message

KEY = "s3cret"
_INFER = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def add_everything(folder: RuntimeFolder) -> dict[str, str]:
    """Models and settings into `folder`; returns the environment that switches the rest on."""
    folder.add_classifier()
    folder.add_classifier(version="2")
    ids = [tensor(name, "INT64", [-1, -1]) for name in ("input_ids", "attention_mask")]
    texts = folder.add("colours", embedder(), ids, [tensor("vectors", "FP32", [-1, -1, 4])])
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "red": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path = "models/colours/1/tokenizer.json"
    texts["files"].append(folder.file(path, tokenizer.to_str().encode()))
    texts["serving"] = {"task": "embeddings", "tokenizer": {"path": path, "max_tokens": 3}}
    bright = folder.add(
        "bright",
        brightness(),
        [tensor("image", "FP32", [-1, 3, 4, 6])],
        [tensor("scores", "FP32", [-1, 3])],
    )
    size = {"width": 6, "height": 4, "channels_first": True, "mean": [0, 0, 0], "std": [1, 1, 1]}
    bright["serving"] = {"task": "image-classification", "image": size}
    folder.document["grpc"] = {"port": 0}
    authority = Authority(folder.path)
    certificate, private = authority.issue("server")
    authority.issue("clinic")
    keys = folder.path / "keys"
    keys.write_text(f"tester {hashlib.sha256(KEY.encode()).hexdigest()}\n")
    audit = folder.path / "audit"
    audit.mkdir()
    return {
        "PACKAGER_TLS_CERTIFICATE_FILE": str(certificate),
        "PACKAGER_TLS_KEY_FILE": str(private),
        "PACKAGER_TLS_CLIENT_CA_FILE": str(authority.certificate),
        "PACKAGER_API_KEYS_FILE": str(keys),
        "PACKAGER_AUDIT_DIR": str(audit),
        "PACKAGER_TRACES_DIR": str(folder.path / "traces"),
        "PACKAGER_TRACES_SHARE": "1",
        "PACKAGER_REGION": "site/lab",
    }


def ask_everything(folder: Path, port: int, grpc_port: int) -> dict[str, Any]:
    """What each feature answered: path or call → status."""
    authority = folder / "test-authority.pem"
    found: dict[str, Any] = {}
    tls = ssl.create_default_context(cafile=str(authority))
    mine, my_key = folder / "clinic.pem", folder / "clinic.key"
    tls.load_cert_chain(mine, my_key)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=tls)
    known = {"Authorization": f"Bearer {KEY}"}
    picture = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 20, 100)).save(picture, "PNG")
    infer = "/v2/models/classifier/infer"
    texts = {"model": "colours", "input": ["red", "blue"]}
    for method, path, body, headers in (
        ("GET", "/", None, {}),
        ("GET", "/v2", None, {}),
        ("GET", "/metrics", None, {}),
        ("GET", "/openapi.json", None, {}),
        ("GET", "/v2/models/stats", None, {}),
        ("GET", "/v2/models/classifier/config", None, {}),
        ("POST", "/v2/repository/index", b"{}", {}),
        ("POST", infer, json.dumps(_INFER).encode(), {"Accept-Encoding": "gzip"}),
        ("POST", "/v1/embeddings", json.dumps(texts).encode(), {}),
        ("POST", "/v2/models/bright/classify", picture.getvalue(), {"Content-Type": "image/png"}),
        ("POST", "/v2/models/classifier/versions/1/infer", json.dumps(_INFER).encode(), {}),
        ("POST", "/v2/models/classifier/versions/2/infer", b"{", {}),
        ("POST", "/v2/models/classifier/versions/9/infer", b"{", {}),
        ("GET", "/elsewhere", None, {}),
        ("PUT", "/v2/repository/index", b"", {}),
    ):
        connection.request(method, path, body, known | headers)
        answer = connection.getresponse()
        answer.read()
        found[path] = answer.status
    connection.request("POST", infer, b"{", {})
    answer = connection.getresponse()
    answer.read()
    found["without a key"] = answer.status
    connection.request("POST", "/v1/embeddings", bytes(2 << 20), known)
    answer = connection.getresponse()
    answer.read()
    found["a body too large"] = answer.status
    connection.close()
    found["without a certificate"] = _refused(
        ssl.create_default_context(cafile=str(authority)), port
    )
    found["without TLS"] = _refused(None, grpc_port)
    credentials = grpc.ssl_channel_credentials(
        authority.read_bytes(), my_key.read_bytes(), mine.read_bytes()
    )
    with grpc.secure_channel(f"127.0.0.1:{grpc_port}", credentials) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
        call(b"", metadata=(("authorization", f"Bearer {KEY}"),), timeout=60)
        given = message("inference.ModelInferRequest")(model_name="classifier")
        given.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend(
            [1, 2, 3, 4]
        )
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        call(given.SerializeToString(), metadata=(("x-api-key", KEY),), timeout=60)
        found["gRPC"] = "OK"
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
        found["gRPC Watch"] = next(watch)
        watch.cancel()
        try:
            call(b"\xff", metadata=(("x-api-key", KEY),), timeout=60)
        except grpc.RpcError as error:
            found["gRPC, no message"] = error.code().name
        try:
            call(b"\xff", timeout=60)
        except grpc.RpcError as error:
            found["gRPC without a key"] = error.code().name
    keys = folder / "keys"
    keys.write_text(f"{keys.read_text()}# changed, so that it is read again\n")
    return found


def _refused(tls: ssl.SSLContext | None, port: int) -> bool:
    """Whether a peer that does not show who it is gets no answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        try:
            with tls.wrap_socket(peer, server_hostname="127.0.0.1") if tls else peer as inside:
                inside.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
                return inside.recv(1) == b""
        except OSError:
            return True
