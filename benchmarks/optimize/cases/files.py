"""What kind of file is it: Magika's classifier, on real files of this machine. A label is right
when the file's own suffix is one that Magika's knowledge base gives for it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.optimize.cases import Case, Figures, answers, labelled, losing_at_most

ROOT = Path(__file__).resolve().parents[3]
PLACES = ("/usr/share", "/usr/lib", "/usr/include", "/etc")
PER_SUFFIX, UNSEEN, BYTES_AT_MOST = 80, 500, 2_000_000
METRIC = """
import numpy as np


def score(outputs, labels):
    (found,) = outputs.values()
    count = len(labels["fitting"])
    best = found.reshape(count, -1).argmax(-1)
    return labels["fitting"][np.arange(count), best]
"""


def magika(folder: Path) -> Case:
    """Needs the package `magika`, which also makes the model's inputs of files."""
    folder.mkdir()
    package = Path(module("magika").__file__ or "").parent
    fitting = suffixes(package)
    recording = preparing().RecordingMagika()
    kept: dict[tuple[int, ...], np.ndarray] = {}
    for file in found(set(fitting)):
        before = len(recording.rows)
        recording.identify_bytes(file.read_bytes())
        if len(recording.rows) > before:  # tiny files are told without the model
            kept.setdefault(tuple(recording.rows[-1]), fitting[file.suffix[1:].lower()])
    rows, labels = np.asarray(list(kept), np.int32), np.stack(list(kept.values()))
    order = np.random.RandomState(2).permutation(len(rows))
    rows, labels = rows[order], labels[order]
    np.savez(folder / "samples.npz", bytes=rows[UNSEEN:])
    files = labelled(folder, METRIC, {"fitting": labels[UNSEEN:]})
    held, truth = rows[:UNSEEN], labels[:UNSEEN]
    reference = answers(recording.model_file, {"bytes": held}).argmax(-1)

    def task(graph: Path) -> Figures:
        own = answers(graph, {"bytes": held}).argmax(-1)
        return {
            f"kind fits the suffix, of {len(truth)} files": round(
                float(truth[np.arange(len(truth)), own].mean()), 4
            ),
            "the same kind as the source says": round(float((own == reference).mean()), 4),
        }

    budget = losing_at_most(0.005)
    return Case("magika", recording.model_file, folder / "samples.npz", budget, task, files)


def suffixes(package: Path) -> dict[str, np.ndarray]:
    """Suffix → which of the model's classes fit it."""
    (config,) = package.glob("models/*/config.min.json")
    classes = json.loads(config.read_text())["target_labels_space"]
    kinds = json.loads((package / "config/content_types_kb.min.json").read_text())
    known: dict[str, np.ndarray] = {}
    for index, name in enumerate(classes):
        for suffix in kinds.get(name, {}).get("extensions", ()):
            known.setdefault(suffix, np.zeros(len(classes), bool))[index] = True
    return known


def found(known: set[str]) -> Iterator[Path]:
    """Files of this machine with a suffix that is known, a share of each, spread over folders."""
    taken: Counter[str] = Counter()
    for _, path in sorted(all_files(known)):
        if taken[path.suffix] < PER_SUFFIX:
            taken[path.suffix] += 1
            yield path


def all_files(known: set[str]) -> Iterator[tuple[str, Path]]:
    for place in PLACES:
        for folder, _, names in os.walk(place):
            for name in names:
                path = Path(folder, name)
                if path.suffix[1:].lower() in known and usable(path):
                    yield hashlib.sha256(str(path).encode(errors="replace")).hexdigest(), path


def usable(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and 8 < path.stat().st_size < BYTES_AT_MOST
    except OSError:
        return False


def preparing() -> ModuleType:
    """The example's own script, which records what Magika feeds its model."""
    sys.path.insert(0, str(ROOT / "examples/filetype"))
    try:
        return module("prepare")
    finally:
        sys.path.pop(0)


def module(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(name)
