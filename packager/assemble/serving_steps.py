"""The steps around the model: their files beside it, and their section in server.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.model import ModelFile, OptimizedModel
from packager.domain.serving import Serving, Steps
from packager.errors import InputError

TOKENIZER = "tokenizer.json"


def accompanied(model: OptimizedModel, serving: Serving) -> OptimizedModel:
    """The model with the files that its steps need. Raises InputError when one cannot be read."""
    steps = serving.steps
    if steps is None or steps.tokenizer is None:
        return model
    file = steps.tokenizer
    try:
        found = ModelFile(TOKENIZER, file, Digest.of_file(file), file.stat().st_size)
    except OSError as error:
        raise InputError(
            "the tokenizer cannot be read",
            where="serving.tokenizer",
            expected="a tokenizer.json, as the library `tokenizers` saves it",
            got=f"{file}: {error.strerror}",
        ) from error
    return replace(model, accompanying=(found,))


def serving_steps(serving: Serving, folder: str) -> dict[str, object] | None:
    """The section `serving` of a model in server.json; `folder` is the model's."""
    return _section(serving.steps, Path(folder)) if serving.steps else None


def _section(steps: Steps, folder: Path) -> dict[str, object]:
    section: dict[str, object] = {
        "task": steps.task.value,
        "pooling": steps.pooling.value,
        "normalize": steps.normalize,
        "labels": list(steps.labels),
        "output": steps.output,
    }
    if steps.tokenizer:
        section["tokenizer"] = {
            "path": (folder / TOKENIZER).as_posix(),
            "max_tokens": steps.max_tokens,
        }
    if steps.picture:
        section["image"] = {
            "width": steps.picture.width,
            "height": steps.picture.height,
            "channels_first": steps.picture.channels_first,
            "mean": list(steps.picture.mean),
            "std": list(steps.picture.std),
        }
    return section
