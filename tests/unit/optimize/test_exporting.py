"""Folders of safetensors: what they stand for, computed a second time in plain numpy."""

from __future__ import annotations

import json
import struct
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packager.errors import InputError
from packager.optimize.engine import open_session
from packager.optimize.exporting import export, is_exportable, onnx_source, read_safetensors

HIDDEN, INNER, LAYERS, HEADS, WORDS = 16, 32, 2, 4, 50
CONFIG = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}


def _weights() -> dict[str, np.ndarray]:
    random = np.random.RandomState(4)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, HIDDEN),
        "embeddings.position_embeddings.weight": (12, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        own = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{own}.attention.{name}.weight"] = (HIDDEN, HIDDEN)
            shapes[f"{own}.attention.{name}.bias"] = (HIDDEN,)
        shapes[f"{own}.intermediate.dense.weight"] = (INNER, HIDDEN)
        shapes[f"{own}.intermediate.dense.bias"] = (INNER,)
        shapes[f"{own}.output.dense.weight"] = (HIDDEN, INNER)
        shapes[f"{own}.output.dense.bias"] = (HIDDEN,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{own}.{name}.weight"] = shapes[f"{own}.{name}.bias"] = (HIDDEN,)
    return {name: random.standard_normal(s).astype(np.float32) * 0.4 for name, s in shapes.items()}


def _save(file: Path, tensors: dict[str, np.ndarray]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        offsets = [len(data), len(data) + values.nbytes]
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": offsets}
        data += values.tobytes()
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "encoder"
    (path / "1_Pooling").mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    _save(path / "model.safetensors", _weights())
    return path


def _by_hand(w: dict[str, np.ndarray], ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    words = w["embeddings.word_embeddings.weight"][ids]
    x = words + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(LAYERS):
        own = f"encoder.layer.{layer}"
        size = HIDDEN // HEADS
        mixed = []
        q, k, v = (dense(f"{own}.attention.self.{n}", x) for n in ("query", "key", "value"))
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = q[..., part] @ k[..., part].swapaxes(1, 2) / sqrt(size)
            scores = scores + (1 - mask[:, None, :]) * -10000.0
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed.append(shares / shares.sum(-1, keepdims=True) @ v[..., part])
        attended = dense(f"{own}.attention.output.dense", np.concatenate(mixed, -1))
        x = norm(f"{own}.attention.output.LayerNorm", attended + x)
        inner = dense(f"{own}.intermediate.dense", x)
        inner = inner * 0.5 * (1 + np.vectorize(erf)(inner / sqrt(2)))
        x = norm(f"{own}.output.LayerNorm", dense(f"{own}.output.dense", inner) + x)
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def test_the_graph_computes_what_the_architecture_says(folder: Path, tmp_path: Path) -> None:
    proto = export(folder)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, tmp_path / "model.onnx")
    ids = np.random.RandomState(1).randint(0, WORDS, (3, 7))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    found = open_session(tmp_path / "model.onnx", 1).run(None, feed)[0]
    assert np.abs(found - _by_hand(_weights(), ids, mask)).max() < 1e-5


def test_the_same_folder_is_exported_once_and_to_the_same_bytes(
    folder: Path, tmp_path: Path
) -> None:
    assert is_exportable(folder)
    first = onnx_source(folder, tmp_path / "one")
    assert onnx_source(folder, tmp_path / "one") == first
    assert onnx_source(folder, tmp_path / "two").read_bytes() == first.read_bytes()
    assert onnx_source(first, tmp_path / "one") == first
    names = {prop.key for prop in onnx.load(first).metadata_props}
    assert names == {"source.safetensors.sha256"}


@pytest.mark.parametrize(
    "change", [{"model_type": "llama"}, {"hidden_act": "silu"}, {"num_hidden_layers": 9}]
)
def test_what_cannot_be_exported_says_so(folder: Path, change: dict, tmp_path: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **change}))
    with pytest.raises(InputError) as caught:
        onnx_source(folder, tmp_path)
    assert caught.value.findings[0].next_step


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 2000))
def test_damaged_files_are_errors_in_words(folder: Path, place: int, value: int, cut: int) -> None:
    file = folder / "damaged.safetensors"
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[place] = value
    file.write_bytes(data[: len(data) - cut])
    try:
        for values in read_safetensors(file).values():
            np.asarray(values).sum()
    except InputError as error:
        assert error.findings[0].got
