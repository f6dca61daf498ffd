"""`models:` of release.yaml: what it means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.domain.hardware import Precision
from packager.domain.model import Metric, Objective
from packager.errors import InputError
from packager.place.release_file import relocated
from packager.release import read_release

HEAD = """\
apiVersion: packager/v1
kind: Release
metadata: {name: two, version: 1.0.0}
targets: [{jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}]
sites: {lab: DE}
"""
TWO = """\
objective: size
quality: {metric: cosine, at_least: 0.9}
models:
  - {name: a, path: a.onnx, license: MIT, origin: DE, samples: a.npz}
  - name: a
    version: 2
    path: b.onnx
    objective: throughput
    precision: int8
    quality: {metric: max_abs, at_most: 0.5}
    serving: {task: embeddings, tokenizer: t.json}
"""


def read(folder: Path, text: str):
    file = folder / "release.yaml"
    file.write_text(HEAD + text)
    return read_release(file)


def findings(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, text)
    return "\n".join(f"{one.where}: {one.what}" for one in caught.value.findings)


def test_each_model_has_its_own_and_what_the_root_says_of_all(tmp_path):
    request = read(tmp_path, TWO)
    one, two = request.models
    assert [str(each.model_name) for each in (one, two)] == ["a", "a version 2"]
    assert (one.model_path, two.model_path) == (tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert (one.model_license, two.model_license) == ("MIT", None)
    assert (one.declared.model_origin, two.declared.model_origin) == ("DE", None)
    assert (one.objective, two.objective) == (Objective.SIZE, Objective.THROUGHPUT)
    assert (one.precision, two.precision) == (None, Precision.INT8)
    assert (one.quality.metric, two.quality.metric) == (Metric.COSINE, Metric.MAX_ABS)
    assert (one.samples, two.samples) == (tmp_path / "a.npz", None)
    assert one.serving.steps is None
    assert two.serving.steps
    assert request.features == ("text",)


def test_records_of_two_models_never_meet(tmp_path):
    one, two = read(tmp_path, TWO).models
    assert one.quality_path("x86-64-v3") == "evidence/quality/x86-64-v3.json"
    assert two.quality_path("x86-64-v3") == "evidence/quality/a/2/x86-64-v3.json"


def test_one_model_in_the_list_is_one_model_with_a_name(tmp_path):
    request = read(tmp_path, "models: [{name: other, version: 3, path: a.onnx}]\n")
    (only,) = request.models
    assert (only.model_name.name, only.model_name.version) == ("other", "3")


def test_the_short_form_is_called_as_the_release(tmp_path):
    request = read(tmp_path, "model: {path: a.onnx}\n")
    assert (request.model_name.name, request.model_name.version) == ("two", "1")
    assert request.models == (request,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TWO.replace("    version: 2\n", ""), "models[1].name: 'a' version 1 is given twice"),
        (TWO + "model: {path: c.onnx}\n", "model: a release has one `model:` or several"),
        (TWO + "serving: {task: embeddings, tokenizer: t}\n", "each model has steps of its own"),
        (TWO + "generation: {slots: 2}\n", "only a generative model has settings"),
        (TWO.replace("{name: a,", "{name: a, kind: generative,"), "is not served beside others"),
        (TWO.replace("{name: a,", "{name: a/b,"), "models[0].name: cannot be read"),
        (TWO.replace("version: 2", "version: 0"), "models[1].version: out of range"),
        (TWO.replace("version: 2", "version: two"), "models[1].version: wrong type"),
        (TWO.replace("name: a, ", ""), "models[0].name: the key 'name' is missing"),
        (TWO.replace("path: b.onnx", "paths: b.onnx"), "models[1].paths: unknown key 'paths'"),
        ("models: []\n", "there is no model in the list"),
        ("models: a.onnx\n", "models: wrong type"),
        ("", "model: the key 'model' is missing"),
        (
            TWO.replace("metric: cosine, at_least: 0.9", "metric: task, plugin: p, labels: l"),
            "the labels of a task belong to one model",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(tmp_path, text, told):
    assert told in findings(tmp_path, text)


def test_a_release_file_that_moves_takes_the_paths_of_its_models_along(tmp_path):
    moved = relocated(HEAD + TWO, tmp_path, tmp_path / "there")
    for path in ("../a.onnx", "../b.onnx", "../a.npz", "../t.json"):
        assert path in moved
