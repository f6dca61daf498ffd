"""Models of real shapes whose last layer is trained here, in closed form: a MiniLM-shaped encoder
that tells four topics, and a residual convolutional network that tells ten textures. The layers
below are random features, the read-out is ridge regression (Hoerl & Kennard, 1970) on them, so that
accuracy and margins are those of a task and not made up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from packager.optimize.ranges import open_with_outputs

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests/support"))

from optimizer_models import convnet, encoder

LEARNED_ON = 4000
TRAINED, SEQUENCE, VOCABULARY, SIZE = 1200, 32, 30522, 32
Arrays = dict[str, np.ndarray]


def minilm_shaped(folder: Path, count: int) -> tuple[Path, Arrays, np.ndarray]:
    """Six layers of 384, twelve heads: 22.6 M weights; the file, samples, and their labels."""
    proto = encoder(layers=6, hidden=384, heads=12, vocabulary=VOCABULARY)
    feeds, labels = texts(TRAINED + count)
    return trained(proto, "ReduceMean", feeds, labels, 4, folder)


def learned(folder: Path, count: int, python: Path | None, kept: Path) -> tuple[Path, Arrays, Any]:
    """The same encoder with all of its weights trained on that task by `train.py`, with the Python
    of an environment that has torch; what was learned is `kept` as a file and taken from there the
    next time."""
    folder.mkdir(exist_ok=True)
    feeds, labels = texts(LEARNED_ON + count)
    if not kept.exists():
        proto = encoder(layers=6, hidden=384, heads=12, vocabulary=VOCABULARY)
        onnx.save_model(proto, folder / "fresh.onnx")
        seen = {name: array[:LEARNED_ON] for name, array in feeds.items()}
        np.savez(folder / "seen.npz", **seen, labels=labels[:LEARNED_ON])
        trainer = Path(__file__).parents[1] / "train.py"
        files = folder / "fresh.onnx", folder / "seen.npz", kept
        subprocess.run([str(python), str(trainer), *map(str, files)], check=True)
    shutil.copyfile(kept, folder / "model.onnx")
    held_out = {name: array[LEARNED_ON:] for name, array in feeds.items()}
    return folder / "model.onnx", held_out, labels[LEARNED_ON:]


def residual(folder: Path, count: int) -> tuple[Path, Arrays, np.ndarray]:
    """Four stages of residual blocks on 32×32 images."""
    proto = convnet((32, 64, 128, 192), SIZE, classes=10)
    feeds, labels = textures(TRAINED + count)
    return trained(proto, "Flatten", feeds, labels, 10, folder)


def texts(count: int) -> tuple[Arrays, np.ndarray]:
    """Ids of which a part comes from the words of a topic, the rest from all; four topics."""
    random = np.random.RandomState(21)
    labels = random.randint(0, 4, count)
    words = random.randint(0, VOCABULARY, (4, 60))
    ids = random.randint(0, VOCABULARY, (count, SEQUENCE))
    told = random.rand(count, SEQUENCE) < 0.6
    own = words[labels][np.arange(count)[:, None], random.randint(0, 60, (count, SEQUENCE))]
    ids = np.where(told, own, ids)
    lengths = random.randint(SEQUENCE // 2, SEQUENCE + 1, count)
    mask = (np.arange(SEQUENCE) < lengths[:, None]).astype(np.int64)
    return {"ids": ids.astype(np.int64), "mask": mask}, labels


def textures(count: int) -> tuple[Arrays, np.ndarray]:
    """Gratings of ten directions in any colour, phase and pitch, with noise."""
    random = np.random.RandomState(22)
    labels = random.randint(0, 10, count)
    angle = labels * np.pi / 10 + random.normal(0, 0.03, count)
    pitch, phase = random.uniform(0.6, 1.2, count), random.uniform(0, 2 * np.pi, count)
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = np.sin(
        pitch[:, None, None] * (np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y)
        + phase[:, None, None]
    )
    colour = random.uniform(0.5, 1.0, (count, 3, 1, 1))
    noise = random.standard_normal((count, 3, SIZE, SIZE)) * 0.15
    return {"image": (wave[:, None] * colour + noise).astype(np.float32)}, labels


def trained(
    proto: onnx.ModelProto,
    features: str,
    feeds: Arrays,
    labels: np.ndarray,
    classes: int,
    folder: Path,
) -> tuple[Path, Arrays, np.ndarray]:
    """The read-out behind the last operator `features`, fitted on the first samples; the rest."""
    folder.mkdir(exist_ok=True)
    seen, path = features_of(proto, features, feeds, folder), folder / "model.onnx"
    centre = seen.mean(0)
    wide = seen - centre
    targets = 2.0 * np.eye(classes)[labels[:TRAINED]] - 1
    ridge = 1e-1 * np.trace(wide.T @ wide) / wide.shape[1]
    weights = np.linalg.solve(wide.T @ wide + ridge * np.eye(wide.shape[1]), wide.T @ targets)
    bias = targets.mean(0) - centre @ weights
    last = proto.graph.node[-1]
    read_out = next(t for t in proto.graph.initializer if t.name == last.input[1])
    read_out.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), read_out.name))
    added = numpy_helper.from_array(bias.astype(np.float32), "read_out_bias")
    proto.graph.initializer.append(added)
    last.op_type, last.name = "Gemm", "read_out"
    last.input[:] = [last.input[0], read_out.name, added.name]
    onnx.save_model(proto, path)
    return path, {name: array[TRAINED:] for name, array in feeds.items()}, labels[TRAINED:]


def features_of(proto: onnx.ModelProto, operator: str, feeds: Arrays, folder: Path) -> np.ndarray:
    """What the last node of that kind gives for the first samples: [TRAINED, width]."""
    name = [node.output[0] for node in proto.graph.node if node.op_type == operator][-1]
    session = open_with_outputs(proto, [name], folder / "features.onnx")
    parts = []
    for start in range(0, TRAINED, 50):
        feed = {key: array[start : min(start + 50, TRAINED)] for key, array in feeds.items()}
        parts.append(session.run([name], feed)[0])
    return np.concatenate(parts).astype(np.float64)
