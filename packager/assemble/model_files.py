"""The models in the image: `/opt/packager/models/<name>/<version>/`, each with golden samples.

The graph is always `model.onnx`; external data keeps its names, because the graph refers to them.
"""

from __future__ import annotations

import re
from pathlib import Path

from packager.archive import Entry
from packager.digest import Digest
from packager.domain.model import OptimizedModel
from packager.domain.model_request import ModelName
from packager.errors import InputError

MODEL_ROOT = "opt/packager"
GRAPH = "model.onnx"
GOLDEN = "golden.npz"
GOLDEN_TEXT = "golden.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def model_folder(model: ModelName) -> str:
    """Relative to `server.json`. Raises InputError for a name that is no plain folder name."""
    if not _NAME.fullmatch(model.name):
        raise InputError(
            "the model's name cannot be the name of a folder",
            where="metadata.name",
            expected="letters, digits, '.', '_' and '-', beginning with a letter or a digit",
            got=repr(model.name[:120]),
        )
    return f"models/{model.folder}"


def placed_files(model: OptimizedModel) -> list[tuple[str, Path, Digest, int]]:
    """Name in the model's folder, file, digest and size in bytes: graph, external data, golden.

    Raises InputError when a file of external data has a name that is taken or leads elsewhere.
    """
    graph, *others = model.model.files
    golden = GOLDEN_TEXT if model.generation else GOLDEN
    placed = [(GRAPH, graph.path, graph.digest, graph.size)]
    placed += [(file.name, file.path, file.digest, file.size) for file in others]
    placed += [(file.name, file.path, file.digest, file.size) for file in model.accompanying]
    if model.golden:
        size = model.golden.stat().st_size
        placed.append((golden, model.golden, Digest.of_file(model.golden), size))
    names = [name for name, *_ in placed]
    for name in names:
        if names.count(name) > 1 or any(part in ("", ".", "..") for part in name.split("/")):
            raise InputError(
                "a file of the model has a name that cannot be used",
                where=name[:200],
                expected=f"relative names, each once, and neither {GRAPH} nor {golden} for data",
                next_step="save the model's external data under another name",
            )
    return placed


def model_inputs(model: OptimizedModel, name: ModelName) -> list[object]:
    """What the model's layer is made from, for its key."""
    files = [[file, str(digest)] for file, _, digest, _ in placed_files(model)]
    return [model_folder(name), *files]


def model_entries(model: OptimizedModel, name: ModelName) -> list[Entry]:
    folder = f"{MODEL_ROOT}/{model_folder(name)}"
    return [Entry.of_file(f"{folder}/{file}", path) for file, path, *_ in placed_files(model)]
