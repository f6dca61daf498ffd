"""Several models in one image: built, verified, started in Docker and as a local process, asked.

Two versions of a classifier of numbers, and a classifier of images. The same was done by hand with
Magika (`docs/several-models.md`), which takes the optimizer minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import command
from engines import docker_engine
from tiny_models import brightness, classifier, classifier_answer

pytestmark = [pytest.mark.network, pytest.mark.xdist_group("several-models")]

RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {name: filetypes, version: 1.0.0}
precision: fp32
models:
  - {name: sorter, version: 1, path: 1.onnx, license: Apache-2.0}
  - {name: sorter, version: 2, path: 2.onnx, license: Apache-2.0, origin: US}
  - name: bright
    path: bright.onnx
    license: MIT
    samples: bright.npz
    serving:
      task: image-classification
      labels: [red, green, blue]
      image: {width: 6, height: 4}
targets:
  - {jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}
  - {jurisdiction: sa, hardware: x86-64-v3, platform: kubernetes, regions: [site/riyadh]}
sites: {lab: DE, riyadh: SA}
registry: {de: registry.example.de/ml, sa: registry.example.sa/ml}
"""
PROGRAM = """
import base64, io, json, os, urllib.request
from PIL import Image

def asked(path, document):
    body = json.dumps(document).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(os.environ["PACKAGER_URL"] + path, body, head)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())

tensor = {"name": "x", "datatype": "FP32", "shape": [3, 4], "data": list(range(12))}
picture = io.BytesIO()
Image.new("RGB", (20, 20), (0, 0, 255)).save(picture, "PNG")
print(json.dumps({
    "named": os.environ["PACKAGER_MODELS"],
    "index": asked("/v2/repository/index", {}),
    "sorter": {
        version: asked(f"/v2/models/sorter/versions/{version}/infer", {"inputs": [tensor]})
        for version in ("1", "2")
    },
    "bright": asked("/v2/models/bright/classify",
                    {"input": [base64.b64encode(picture.getvalue()).decode()]}),
}))
"""
ENGINES = [pytest.param("docker", marks=pytest.mark.engine), "process"]
EACH = ["sorter/1", "sorter/2", "bright/1"]


@dataclass(frozen=True)
class Built:
    """The release, and the key that it is verified with."""

    folder: Path
    public: Path

    def read(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("several")
    model = onnx.load_from_string(classifier())
    onnx.save(model, folder / "1.onnx")
    for weights in model.graph.initializer:
        halved = onnx.numpy_helper.to_array(weights) * np.float32(0.5)
        weights.CopyFrom(onnx.numpy_helper.from_array(halved, weights.name))
    onnx.save(model, folder / "2.onnx")
    (folder / "bright.onnx").write_bytes(brightness())
    images = np.random.default_rng(7).random((32, 3, 4, 6)).astype(np.float32)
    np.savez(folder / "bright.npz", image=images)
    (folder / "release.yaml").write_text(RELEASE)
    command("keys", "generate", "-o", folder / "site.pem")
    command("lock", folder / "release.yaml")
    command("build", folder / "release.yaml", "--key", folder / "site.pem", "-o", folder / "out")
    return Built(folder / "out", folder / "site.pub")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_model_answers_under_its_name_and_version(several: Built, engine: str) -> None:
    if engine == "docker":
        docker_engine().close()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "packager", "run", several.folder, "--key", several.public),
            *("-q", "--engine", engine, "--", sys.executable, "-c", PROGRAM),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["named"].split() == EACH
    ready = {(one["name"], one["version"], one["state"]) for one in found["index"]}
    assert ready == {(*name.split("/"), "READY") for name in EACH}
    scores, _ = classifier_answer(np.arange(12, dtype=np.float32).reshape(3, 4))
    for version, factor in (("1", 1.0), ("2", 0.5)):
        answer = found["sorter"][version]
        assert answer["model_version"] == version
        (output,) = (one for one in answer["outputs"] if one["name"] == "scores")
        np.testing.assert_allclose(output["data"], factor * scores.ravel(), atol=1e-4)
    assert found["bright"]["predictions"][0][0]["label"] == "blue"


def test_every_model_stands_in_the_evidence(several: Built, packager: Any) -> None:
    verified = packager("verify", several.folder, "--key", several.public)
    assert verified.code == 0, verified.err
    release = several.read("release.json")
    assert [f"{one['name']}/{one['version']}" for one in release["models"]] == EACH
    target = "de/x86-64-v3/compose"
    precisions = [one["chosen"][target]["precision"] for one in release["models"]]
    assert precisions == ["fp32"] * 3
    assert len({one["chosen"][target]["digest"] for one in release["models"]}) == 3
    slug = target.replace("/", "-")
    bom = several.read(f"evidence/sbom/{slug}.cdx.json")
    models = [one for one in bom["components"] if one["type"] == "machine-learning-model"]
    assert [f"{one['name']}/{one['version']}" for one in models] == EACH
    assert [one["licenses"][0]["expression"] for one in models] == ["Apache-2.0"] * 2 + ["MIT"]
    provenance = several.read(f"evidence/provenance/{slug}.slsa.json")["buildDefinition"]
    assert set(provenance["internalParameters"]["optimizations"]) == set(EACH)
    names = {one["name"] for one in provenance["resolvedDependencies"]}
    assert {"model/1.onnx", "bright/1/model/bright.onnx"} <= names
    for name in ("", "sorter/2/", "bright/1/"):
        assert several.read(f"evidence/quality/{name}x86-64-v3.json")["chosen"]
        assert several.read(f"evidence/models/{name}{slug}.oms.sigstore.json")


def test_each_model_is_a_layer_that_targets_share(several: Built, packager: Any) -> None:
    shown = packager("inspect", several.folder, "--key", several.public, "--json").json()
    assert shown["models"] == EACH
    layers = [layer for layer in shown["layers"] if layer["kind"] == "model"]
    assert len(layers) == 3
    assert all(len(layer["targets"]) == 2 for layer in layers)


def test_what_takes_one_model_refuses_several(several: Built, packager: Any) -> None:
    file = several.folder.parent / "release.yaml"
    refused = packager("optimize", file, "--plan")
    assert refused.code == 1
    assert "sorter version 2" in refused.err
    which = packager("bench", several.folder, "--key", several.public, "--engine", "process")
    assert which.code == 1
    assert "bright, sorter" in which.err


def test_two_releases_are_compared_model_by_model(several: Built) -> None:
    from packager.differing import _models

    new = several.read("release.json")
    old = json.loads(json.dumps(new))
    old["models"][1]["digest"] = "sha256:0"
    old["models"][2]["version"] = "7"
    assert _models(old, new) == [
        "model bright/7 is gone",
        "model bright/1 is new",
        f"model sorter/2: digest sha256:0 → {new['models'][1]['digest']}",
    ]
