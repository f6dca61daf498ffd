"""An export is held against its source: by the logits after each of some tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from text_folder import save_text_folder

from packager import export_proof
from packager.decoder_folder import read_decoder
from packager.errors import InputError
from packager.exporting import _prove

COUNT = 64


def bent(folder: Path) -> Path:
    """The same model with positions that count four times as fast, as a builder leaves it that
    does not know `rope_scaling`."""
    graph = onnx.load(folder / "model.onnx")
    attention = next(n for n in graph.graph.node if n.op_type == "GroupQueryAttention")
    for tensor in graph.graph.initializer:
        if tensor.name in attention.input[7:9]:
            table = numpy_helper.to_array(tensor)
            there = np.minimum(np.arange(len(table)) * 4, len(table) - 1)
            tensor.CopyFrom(numpy_helper.from_array(table[there], tensor.name))
    onnx.save(graph, folder / "model.onnx")
    return folder


def source_in_place_of_torch(folder: Path, logits: Path) -> Path:
    """A Python that answers the question for the source by what was written before."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\ncp {logits} "$6"\n')
    python.chmod(0o755)
    return python


def test_an_export_that_says_something_else_is_refused(tmp_path: Path) -> None:
    right = save_text_folder(tmp_path / "right")
    asked = np.array([export_proof.tokens(300, COUNT)], np.int64)
    np.save(tmp_path / "said.npy", export_proof.of_graph(str(right), asked))
    python = str(source_in_place_of_torch(tmp_path, tmp_path / "said.npy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packager.exporting._TOKENS", COUNT)
        told = _prove(python, right, read_decoder(right), tmp_path, "fp32")
        assert told == {"distance": 0.0, "same": 1.0}
        wrong = bent(save_text_folder(tmp_path / "wrong"))
        with pytest.raises(InputError, match="something else than the model") as caught:
            _prove(python, right, read_decoder(wrong), tmp_path, "fp32")
    (finding,) = caught.value.findings
    assert "next tokens the same" in str(finding.got)


def test_the_program_needs_nothing_of_ours(tmp_path: Path) -> None:
    """It runs where there is no packager."""
    folder = save_text_folder(tmp_path / "m")
    asked = np.array([export_proof.tokens(300, COUNT)], np.int64)
    np.save(tmp_path / "said.npy", export_proof.of_graph(str(folder), asked) * np.float32(1.25))
    alone = tmp_path / "alone.py"
    alone.write_bytes(Path(export_proof.__file__).read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", alone, "graph", str(COUNT), folder, tmp_path / "said.npy"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["distance"] == pytest.approx(0.2)
    assert told["same"] == 1.0


def test_the_last_places_are_compared_over_the_vocabulary() -> None:
    wanted = np.arange(12.0).reshape(4, 3)
    longer = np.concatenate([wanted[2:], np.full((2, 2), 1e9)], axis=1)
    assert export_proof.likeness(longer, wanted) == {"distance": 0.0, "same": 1.0}
    assert np.isnan(export_proof.likeness(wanted * np.nan, wanted)["distance"])
