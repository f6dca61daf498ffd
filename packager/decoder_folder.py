"""Reads the folder of an exported text model: `genai_config.json` and the files that it names.

That is the form which ONNX Runtime GenAI's builder leaves (`python -m
onnxruntime_genai.models.builder`): the configuration, the graph with its external data, and
`tokenizer.json`. Weights are not read here; whether the graph is what the configuration says is
found out when it is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from packager.decoder_graph import look
from packager.domain.generation import Decoder
from packager.errors import Finding, InputError

CONFIGURATION = "genai_config.json"
TOKENIZER = "tokenizer.json"
CHAT_TEMPLATE = "chat_template.jinja"
_MOST_BYTES = 4 << 20
_MOST = {
    "num_hidden_layers": 1000,
    "num_key_value_heads": 1000,
    "head_size": 4096,
    "vocab_size": 1 << 24,
    "context_length": 1 << 22,
}
_FOREIGN = (".safetensors", ".gguf", ".pt", ".bin")
_BUILDER = (
    "export it once: packager export FOLDER -o OUT --python PYTHON, with an environment that has "
    "torch (docs/generative.md)"
)


def read_decoder(folder: Path, *, draft: bool = False) -> Decoder:
    """The decoder in `folder`. Raises InputError with everything that is wrong or missing.

    A draft shares the tokenizer of the model that it drafts for.
    """
    root = _configuration(folder)
    where = str(folder / CONFIGURATION)
    reader = _Reader(where)
    model = reader.mapping(root, "model")
    decoder = reader.mapping(model, "decoder", "model.")
    sizes = {
        key: reader.whole(owner, key, prefix)
        for owner, key, prefix in (
            (decoder, "num_hidden_layers", "model.decoder."),
            (decoder, "num_key_value_heads", "model.decoder."),
            (decoder, "head_size", "model.decoder."),
            (model, "vocab_size", "model."),
            (model, "context_length", "model."),
        )
    }
    graph = reader.graph(decoder, folder)
    ends = reader.tokens(model.get("eos_token_id"), "model.eos_token_id", sizes["vocab_size"])
    begin = reader.tokens(model.get("bos_token_id"), "model.bos_token_id", sizes["vocab_size"])
    if not draft and not (folder / TOKENIZER).is_file():
        reader.note("the tokenizer is missing", str(folder / TOKENIZER), "a tokenizer.json")
    if reader.found:
        raise InputError.of(reader.found)
    taken = look(folder / graph, dict(decoder), sizes["num_hidden_layers"])
    return Decoder(
        folder=folder,
        graph=graph,
        layers=sizes["num_hidden_layers"],
        kv_heads=sizes["num_key_value_heads"],
        head_size=sizes["head_size"],
        vocabulary=sizes["vocab_size"],
        context=min(sizes["context_length"], taken.reach or sizes["context_length"]),
        end_tokens=ends,
        begin_token=begin[0] if begin else None,
        weights=sum(file.stat().st_size for file in _weights(folder, graph)),
        objections=taken.ours,
        unknown=taken.any,
        cache=taken.cache,
        reach=taken.reach,
    )


def is_decoder_folder(path: Path) -> bool:
    """Whether a path looks like an exported text model."""
    return (path / CONFIGURATION).is_file()


def _weights(folder: Path, graph: str) -> list[Path]:
    """The graph, and what lies beside it under names of external data."""
    beside = (folder / graph).parent
    return [folder / graph, *sorted(beside.glob("*.data"))]


def _configuration(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIGURATION
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        root = json.loads(data) if len(data) <= _MOST_BYTES else None
    except OSError as error:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        foreign = [name for name in names if name.endswith(_FOREIGN)]
        raise InputError(
            "the folder is not an exported text model",
            where=str(folder),
            expected=f"{CONFIGURATION}, the decoder's ONNX graph and {TOKENIZER}",
            got=", ".join(foreign or names[:5]) or error.strerror or "nothing",
            next_step=_BUILDER if foreign else "see docs/generative.md for what must lie there",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            "the configuration of the text model is not JSON", where=str(file), got=str(error)[:120]
        ) from error
    if not isinstance(root, dict):
        raise InputError("the configuration of the text model is no object", where=str(file))
    return root


class _Reader:
    """Collects everything that is wrong in one configuration."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.found: list[Finding] = []

    def note(self, what: str, where: str, expected: str, got: object = None) -> None:
        self.found.append(Finding(what, where, expected, None if got is None else repr(got)[:80]))

    def mapping(self, owner: Mapping[str, Any], key: str, prefix: str = "") -> Mapping[str, Any]:
        value = owner.get(key)
        if isinstance(value, dict):
            return value
        if not self.found:
            self.note("a part is missing", f"{self._where}: {prefix}{key}", "an object", value)
        return {}

    def whole(self, owner: Mapping[str, Any], key: str, prefix: str) -> int:
        value = owner.get(key)
        if type(value) is int and 1 <= value <= _MOST[key]:
            return value
        told = f"a whole number from 1 to {_MOST[key]}"
        self.note("a size is missing or wrong", f"{self._where}: {prefix}{key}", told, value)
        return 1

    def graph(self, decoder: Mapping[str, Any], folder: Path) -> str:
        name = decoder.get("filename", "model.onnx")
        where = f"{self._where}: model.decoder.filename"
        told = "the name of the decoder's graph inside the folder"
        if not isinstance(name, str) or not name or "\\" in name:
            self.note("not a file name", where, told, name)
            return "model.onnx"
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
            self.note("the decoder's graph is not there", where, told, name)
        return name

    def tokens(self, value: Any, key: str, vocabulary: int) -> tuple[int, ...]:
        values = value if isinstance(value, list) else [] if value is None else [value]
        if all(type(one) is int and 0 <= one < vocabulary for one in values):
            return tuple(values)
        told = f"numbers of tokens below {vocabulary}"
        self.note("not tokens of the vocabulary", f"{self._where}: {key}", told, value)
        return ()
