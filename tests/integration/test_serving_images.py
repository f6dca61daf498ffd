"""Texts, images and gRPC from `release.yaml` to a running server: built, verified, started, asked.

The release of a text model asks for gRPC too, so that its image has all that is optional but the
images of the other one. Both run as a local process and in Docker.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import command
from engines import docker_engine
from PIL import Image
from stock_clients import run_client
from tiny_models import brightness, embedder

pytestmark = pytest.mark.network

TEXT_RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {name: colours, version: 1.0.0}
model: {path: model.onnx, license: Apache-2.0, samples: samples.npz}
server: {grpc: true}
serving: {task: embeddings, tokenizer: tokenizer.json, max_tokens: 3}
targets: [{jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}]
sites: {lab: DE}
"""
IMAGE_RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {name: bright, version: 1.0.0}
model: {path: model.onnx, license: Apache-2.0, samples: samples.npz}
serving:
  task: image-classification
  labels: [red, green, blue]
  image: {width: 6, height: 4}
targets: [{jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}]
sites: {lab: DE}
"""
ENGINES = [pytest.param("docker", marks=pytest.mark.engine), "process"]


@dataclass(frozen=True)
class Built:
    """A release, and the key that it is verified with."""

    folder: Path
    public: Path

    def evidence(self) -> dict[str, Any]:
        (record,) = (self.folder / "evidence" / "images").glob("*.json")
        found: dict[str, Any] = json.loads(record.read_text())
        return found

    def running(self, engine: str, program: str) -> Any:
        """What the program prints as JSON; it has the server's addresses in its environment."""
        if engine == "docker":
            docker_engine().close()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "packager", "run", self.folder, "--key", self.public, "-q"),
                *("--engine", engine, "--", sys.executable, "-c", program),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "support")},
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])


def built(folder: Path, release: str, model: bytes, samples: dict[str, Any]) -> Built:
    (folder / "model.onnx").write_bytes(model)
    np.savez(folder / "samples.npz", **samples)
    (folder / "release.yaml").write_text(release)
    command("keys", "generate", "-o", folder / "site.pem")
    command("lock", folder / "release.yaml")
    command("build", folder / "release.yaml", "--key", folder / "site.pem", "-o", folder / "out")
    return Built(folder / "out", folder / "site.pub")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Built:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder = tmp_path_factory.mktemp("text")
    words = {"[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3, "blue": 4}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    ids = np.arange(96, dtype=np.int64).reshape(32, 3) % 8
    samples = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return built(folder, TEXT_RELEASE, embedder(), samples)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Built:
    random = np.random.default_rng(7)
    samples = {"image": random.random((32, 3, 4, 6)).astype(np.float32)}
    return built(tmp_path_factory.mktemp("image"), IMAGE_RELEASE, brightness(), samples)


TRITON = """
import json, os
from stock_clients import run_client
print(json.dumps({
    "http": run_client("triton_text.py", "tritonclient.http", "http",
                       os.environ["PACKAGER_URL"].removeprefix("http://")),
    "grpc": run_client("triton_text.py", "tritonclient.grpc", "grpc", os.environ["PACKAGER_GRPC"]),
    "openai": run_client("openai_conformance.py", "openai", os.environ["PACKAGER_URL"] + "/v1",
                         "colours"),
}))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_stock_clients_ask_a_built_text_model(text: Built, engine: str) -> None:
    run_client("triton_text.py", "tritonclient.grpc", "probe", "")
    found = text.running(engine, TRITON)
    table = np.arange(32, dtype=np.float32).reshape(8, 4) ** 2
    for kind in ("http", "grpc"):
        assert found[kind]["ready"] is True
        np.testing.assert_allclose(found[kind]["vectors"], table[[2, 3]].tolist(), rtol=1e-2)
    blue = table[4] / np.linalg.norm(table[4])
    np.testing.assert_allclose(found["openai"]["single"], blue, rtol=1e-2)
    assert found["openai"]["missing"] == "404"


CLASSIFY = """
import json, os, urllib.request
body = json.dumps({"input": ["PNG"]}).encode()
url = os.environ["PACKAGER_URL"] + "/v2/models/bright/classify"
asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
print(urllib.request.urlopen(asked).read().decode())
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_built_image_classifier_takes_a_picture(image: Built, engine: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 20, 100)).save(picture, "PNG")
    program = CLASSIFY.replace("PNG", base64.b64encode(picture.getvalue()).decode())
    (classes,) = image.running(engine, program)["predictions"]
    assert [one["label"] for one in classes] == ["red", "blue", "green"]


def test_an_image_carries_what_its_release_asks_for_and_no_more(text: Built, image: Built) -> None:
    def wheels(release: Built) -> set[str]:
        lock = json.loads((release.folder.parent / "packager.lock").read_text())
        (environment,) = lock["environments"]
        return {wheel["name"] for wheel in environment["wheels"]}

    optional = {"hpack", "protobuf", "tokenizers", "pillow"}
    assert wheels(text) & optional == {"hpack", "protobuf", "tokenizers"}
    assert wheels(image) & optional == {"pillow"}
