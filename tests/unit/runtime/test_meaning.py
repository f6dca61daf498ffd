"""Texts and images in, vectors and classes out, with the real libraries."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from runtime_process import Client, RuntimeProcess
from stock_clients import run_client
from tiny_models import RuntimeFolder, brightness, embedder, tensor
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from packager.runtime.errors import ExitCode

IDS = [tensor("input_ids", "INT64", [-1, -1]), tensor("attention_mask", "INT64", [-1, -1])]
TABLE = np.arange(32, dtype=np.float32).reshape(8, 4) ** 2
WORDS = {"[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3, "blue": 4}
STEPS = {"task": "embeddings", "pooling": "mean", "normalize": True}


def add_embedder(folder: RuntimeFolder, **steps: object) -> None:
    model = folder.add("colours", embedder(), IDS, [tensor("vectors", "FP32", [-1, -1, 4])])
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path = "models/colours/1/tokenizer.json"
    model["files"].append(folder.file(path, tokenizer.to_str().encode()))
    model["serving"] = STEPS | {"tokenizer": {"path": path, "max_tokens": 3}} | steps


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    add_embedder(folder)
    images = folder.add(
        "bright",
        brightness(),
        [tensor("image", "FP32", [-1, 3, 4, 6])],
        [tensor("scores", "FP32", [-1, 3])],
    )
    images["serving"] = {
        "task": "image-classification",
        "labels": ["red", "green", "blue"],
        "image": {
            "width": 6,
            "height": 4,
            "channels_first": True,
            "mean": [0, 0, 0],
            "std": [0.1, 0.1, 0.1],
        },
    }
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


@pytest.fixture
def client(server: RuntimeProcess) -> Iterator[Client]:
    client = server.client()
    yield client
    client.close()


def embeddings(client: Client, **document: object) -> tuple[int, dict[str, object]]:
    body = json.dumps({"model": "colours"} | document).encode()
    status, _, answer = client.request("POST", "/v1/embeddings", body)
    return status, json.loads(answer)


def expected(*rows: int) -> np.ndarray:
    mean = TABLE[list(rows)].mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_embeddings_are_pooled_over_the_tokens_and_not_the_padding(client: Client) -> None:
    status, answer = embeddings(client, input=["red green", "blue", "red violet blue green"])
    assert status == 200, answer
    vectors = [entry["embedding"] for entry in answer["data"]]
    assert np.allclose(vectors[0], expected(2, 3), atol=1e-6)
    assert np.allclose(vectors[1], expected(4), atol=1e-6)
    assert np.allclose(vectors[2], expected(2, 1, 4), atol=1e-6)
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]


def test_embeddings_in_base64(client: Client) -> None:
    status, answer = embeddings(client, input="blue", encoding_format="base64")
    assert status == 200
    raw = base64.b64decode(answer["data"][0]["embedding"])
    assert np.allclose(np.frombuffer(raw, "<f4"), expected(4), atol=1e-6)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({}, 400),
        ({"input": []}, 400),
        ({"input": [1, 2]}, 400),
        ({"input": "blue", "encoding_format": "hex"}, 400),
        ({"input": "blue", "dimensions": 2}, 400),
        ({"input": "blue", "model": "none"}, 404),
        ({"input": "blue", "model": "bright"}, 400),
        ({"input": "blue", "model": None}, 400),
    ],
)
def test_what_is_refused(client: Client, document: dict[str, object], status: int) -> None:
    found, answer = embeddings(client, **document)
    assert found == status
    error = answer["error"]
    assert isinstance(error, dict)
    assert error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", status)


def test_whoever_refuses_below_v1_speaks_as_openai_does(client: Client) -> None:
    """The routes, the reader of bodies and the handlers: OpenAI's clients show `error.message`."""
    large = b"x" * ((1 << 20) + 1)
    for method, path, body, wanted in (
        ("GET", "/v1/elsewhere", b"", 404),
        ("GET", "/v1/models/none", b"", 404),
        ("PUT", "/v1/embeddings", b"{}", 405),
        ("POST", "/v1/embeddings", b"{", 400),
        ("POST", "/v1/embeddings", large, 413),
    ):
        status, _, answer = client.request(method, path, body)
        assert status == wanted, answer
        assert json.loads(answer)["error"]["message"], path
    status, _, answer = client.request("GET", "/v2/elsewhere", b"")
    assert isinstance(json.loads(answer)["error"], str)


def picture(colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(stream, kind)
    return stream.getvalue()


def test_an_image_is_classified(client: Client) -> None:
    path = "/v2/models/bright/classify"
    for kind in ("PNG", "JPEG"):
        status, _, body = client.request(
            "POST", path, picture((10, 200, 90), kind), {"Content-Type": f"image/{kind.lower()}"}
        )
        assert status == 200, body
        (classes,) = json.loads(body)["predictions"]
        assert [one["label"] for one in classes] == ["green", "blue", "red"]
        assert abs(sum(one["score"] for one in classes) - 1) < 1e-6
    both = [base64.b64encode(picture(colour)).decode() for colour in ((250, 0, 0), (0, 0, 250))]
    status, _, body = client.request(
        "POST", path, json.dumps({"input": both}).encode(), {"Content-Type": "application/json"}
    )
    assert status == 200
    assert [row[0]["label"] for row in json.loads(body)["predictions"]] == ["red", "blue"]


def test_what_is_no_image_is_refused(client: Client) -> None:
    path = "/v2/models/bright/classify"
    for data in (b"", b"hello", picture((0, 0, 0))[:60]):
        assert client.request("POST", path, data, {"Content-Type": "image/png"})[0] == 400
    huge = Image.new("1", (9000, 9000))
    stream = io.BytesIO()
    huge.save(stream, "PNG")
    status = client.request("POST", path, stream.getvalue(), {"Content-Type": "image/png"})[0]
    assert status == 413


@pytest.mark.parametrize("text", ["é", "AAAé", "A", "A===", "\x00", "AA AA"])
def test_what_is_not_base64_is_refused(client: Client, text: str) -> None:
    path, kind = "/v2/models/bright/classify", {"Content-Type": "application/json"}
    status, _, body = client.request("POST", path, json.dumps({"input": [text]}).encode(), kind)
    assert (status, json.loads(body)["error"]) == (400, "input is not base64")


def test_the_openai_client(server: RuntimeProcess) -> None:
    url = f"http://127.0.0.1:{server.port}/v1"
    found = run_client("openai_conformance.py", "openai", url, "colours")
    assert found["models"] == ["bright", "colours"]
    assert found["same"] < 1e-6
    assert np.allclose(found["single"], found["second"], atol=1e-6)
    assert found["tokens"] == 3
    assert found["missing"] == "404"


def test_a_tokenizer_that_cannot_be_read_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    add_embedder(folder)
    path = "models/colours/1/tokenizer.json"
    model = folder.document["models"][0]
    model["files"] = [entry for entry in model["files"] if entry["path"] != path]
    model["files"].append(folder.file(path, b"{}"))
    with RuntimeProcess(folder.write()) as server:
        assert server.wait() == ExitCode.DATA
        assert "tokenizer" in server.stderr()
