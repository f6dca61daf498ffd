"""`--measure`: the site's own figures, in the form that `packager build --measurements` reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_process import REPOSITORY, clean_environment
from tiny_models import RuntimeFolder, classifier_answer

from packager.digest import Digest
from packager.optimize.measuring import host
from packager.optimize.record_file import read_record

SOURCE, MODEL = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    folder = RuntimeFolder(tmp_path)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores, label = classifier_answer(x)
    golden = {"input.x": x, "output.scores": scores, "output.label": label}
    folder.add_classifier(golden=golden)["origin"] = {"source": MODEL, "model": MODEL}
    return folder


def measured(folder: RuntimeFolder, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "packager.runtime"),
            *("--config", str(folder.write()), "--measure"),
        ],
        env=clean_environment(REPOSITORY, folder.path) | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def record(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_build_reads_what_the_image_measured(folder: RuntimeFolder, tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    done = measured(folder)
    file.write_text(done.stdout)
    assert done.returncode == 0, done.stderr
    row = read_record(file).find(Digest.parse(MODEL), Digest.parse(MODEL), "x86-64-v3")
    assert row is not None
    assert row.measured_on == host()
    assert {figures.batch for figures in row.figures} == {1, 4, 16}
    assert row.load_ms is not None
    assert row.batching(1).gain > 1
    assert "batch 16" in done.stderr


def test_another_model_than_the_source_has_no_speed_up(folder: RuntimeFolder) -> None:
    folder.document["models"][0]["origin"]["source"] = SOURCE
    (row,) = record(measured(folder))["measurements"]
    assert (row["source"], row["candidate"]) == (SOURCE, MODEL)
    assert all("latency_speedup" not in figures for figures in row["figures"])
    assert all(figures["latency_p50_ms"] > 0 for figures in row["figures"])


def test_a_model_of_fixed_shape_has_no_batches_and_needs_no_golden_file(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_identity("FP32", [2, 2])["origin"] = {"source": MODEL, "model": MODEL}
    (row,) = record(measured(folder))["measurements"]
    assert {figures["batch"] for figures in row["figures"]} == {1}


def test_measuring_is_as_suspicious_as_a_start(folder: RuntimeFolder) -> None:
    done = measured(folder, PACKAGER_REGION="aws/us-east-1")
    assert (done.returncode, done.stdout) == (78, "")
    (folder.path / folder.document["models"][0]["path"]).write_bytes(b"another model")
    done = measured(folder)
    assert (done.returncode, done.stdout) == (65, "")
    assert "model.onnx" in done.stderr


def test_an_image_that_does_not_say_its_origin(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    done = measured(folder)
    assert done.returncode == 78
    assert "origin" in done.stderr
