"""CUDA graphs without a GPU: the same binding on the CPU, and what becomes of a graph that lies.

What only a GPU shows, that replaying is right and fast, stands in benchmarks/assemble/records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, classifier_answer

from packager.runtime import configuration, cuda_graphs, models

SIZES = [1, 2, 8]


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores, label = classifier_answer(x)
    golden = {"input.x": x, "output.scores": scores, "output.label": label}
    made = RuntimeFolder(tmp_path)
    model = made.add_classifier(golden=golden)
    model["batching"] = {"max_batch_size": 8, "cuda_graphs": SIZES, "fill_up": [8]}
    return made


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "_DEVICE", "cpu")


def load(folder: RuntimeFolder) -> tuple[models.Model, list[str]]:
    loaded = configuration.load(folder.write())
    found = models.load_all(loaded.folder, loaded.models)
    return found.find("classifier", None), found.graphs_refused(loaded.models)


def test_each_size_is_recorded_and_answers_as_the_plain_run(
    folder: RuntimeFolder, on_the_cpu: None
) -> None:
    model, refused = load(folder)
    assert refused == []
    assert model.session.sizes == tuple(SIZES)
    graphs = model.session.graphs
    assert graphs is not None
    random = np.random.default_rng(3)
    for rows in (*SIZES, *SIZES):
        x = random.normal(size=(rows, 4)).astype(np.float32)
        scores, label = classifier_answer(x)
        replayed = graphs.run({"x": x}, ["label", "scores"])
        assert replayed is not None
        assert np.allclose(replayed["scores"], scores, atol=1e-5)
        assert np.array_equal(replayed["label"], label)
        assert list(model.session.run({"x": x}, ["label"])) == ["label"]


def test_other_shapes_are_run_plainly(folder: RuntimeFolder, on_the_cpu: None) -> None:
    model, _ = load(folder)
    x = np.ones((3, 4), np.float32)
    assert model.session.graphs is not None
    assert model.session.graphs.run({"x": x}, ["scores"]) is None
    assert model.session.run({"x": x}, ["scores"])["scores"].shape == (3, 3)


def test_an_answer_is_not_overwritten_by_the_next(folder: RuntimeFolder, on_the_cpu: None) -> None:
    model, _ = load(folder)
    first = model.session.run({"x": np.ones((1, 4), np.float32)}, ["scores"])["scores"]
    kept = first.copy()
    model.session.run({"x": np.full((1, 4), 9, np.float32)}, ["scores"])
    assert np.array_equal(first, kept)


def test_a_graph_that_answers_otherwise_is_not_used(
    folder: RuntimeFolder, on_the_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cuda_graphs.CudaGraphs.run

    def lying(self: Any, inputs: Any, outputs: Any) -> Any:
        found = real(self, inputs, outputs)
        if found and len(inputs["x"]) == 8:
            found["scores"] = found["scores"] + 1
        return found

    monkeypatch.setattr(cuda_graphs.CudaGraphs, "run", lying)
    model, refused = load(folder)
    assert refused == ["model classifier version 1"]
    assert model.session.graphs is None
    assert model.session.sizes == (8,)  # filled up, as without graphs


def test_without_a_gpu_the_server_says_so_and_serves(folder: RuntimeFolder) -> None:
    with RuntimeProcess(folder.write()) as server:
        assert server.wait_event("cuda_graphs_off")["model"] == "model classifier version 1"
        client = server.wait_ready().client()
        given = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
        status, answer = client.infer("classifier", {"inputs": [given]})
        client.close()
    assert status == 200, answer
