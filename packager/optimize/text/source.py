"""A text model on disk, checked: the graph is a decoder as its configuration says, and what lies
beside it (tokenizer, chat template, draft) is there and readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from packager.digest import Digest
from packager.domain.generation import Decoder, Generation, TextEngine
from packager.domain.model import Model, ModelFile, TensorSpec
from packager.errors import Finding, InputError
from packager.optimize.reading import read_model

CONFIGURATION = "genai_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIGURATION = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
DRAFT = "draft"
GRAPH = "model.onnx"
_FLOATS = ("FP32", "FP16")


def read_text_model(generation: Generation) -> Model:
    """The decoder's graph. Raises InputError when it is not what the configuration says."""
    if _is_for_library(generation):
        return read_model(generation.decoder.folder / generation.decoder.graph)
    model = _graph(generation.decoder)
    if generation.draft:
        _graph(generation.draft)
    return model


def _is_for_library(generation: Generation) -> bool:
    """Whether packager's own engine is out of question, so that the graph need not suit it."""
    if generation.engine is TextEngine.AUTO:
        return bool(generation.decoder.objections)
    return generation.engine.of_library


def accompanying(
    folder: Path, draft: Decoder | None, into: Path, engine: TextEngine = TextEngine.PACKAGER
) -> tuple[ModelFile, ...]:
    """What lies beside the graph of `folder` in the image: tokenizer, chat template, a draft that
    is used, and what the library reads where it serves. A template that stands inside the
    tokenizer's configuration is written into `into`."""
    found = [_file(TOKENIZER, folder / TOKENIZER)]
    if engine.of_library:
        found.append(_file(CONFIGURATION, folder / CONFIGURATION))
    if engine is TextEngine.LIBRARY and (folder / TOKENIZER_CONFIGURATION).is_file():
        found.append(_file(TOKENIZER_CONFIGURATION, folder / TOKENIZER_CONFIGURATION))
    if template := chat_template(folder):
        path = into / CHAT_TEMPLATE
        path.write_text(template, encoding="utf-8")
        found.append(_file(CHAT_TEMPLATE, path))
    if draft:
        graph, *data = read_model(draft.folder / draft.graph).files
        found.append(ModelFile(f"{DRAFT}/{GRAPH}", graph.path, graph.digest, graph.size))
        found += [ModelFile(f"{DRAFT}/{f.name}", f.path, f.digest, f.size) for f in data]
    return tuple(found)


def chat_template(folder: Path) -> str | None:
    """The model maker's template: a file, or an entry of the tokenizer's configuration."""
    own, configuration = folder / CHAT_TEMPLATE, folder / "tokenizer_config.json"
    try:
        if own.is_file():
            return own.read_text(encoding="utf-8")
        if configuration.is_file():
            template: Any = json.loads(configuration.read_bytes()).get("chat_template")
            if isinstance(template, list):  # several by name, as older files have them
                named = {entry["name"]: entry["template"] for entry in template}
                template = named.get("default")
            return template if isinstance(template, str) else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            "the chat template cannot be read",
            where=str(folder),
            expected=f"{CHAT_TEMPLATE}, or chat_template in tokenizer_config.json",
            got=str(error)[:120],
        ) from error
    return None


def _graph(decoder: Decoder) -> Model:
    model = read_model(decoder.folder / decoder.graph)
    if findings := list(_objections(model, decoder)):
        raise InputError.of(findings)
    return model


def _objections(model: Model, decoder: Decoder) -> list[Finding]:
    where = str(decoder.folder / decoder.graph)
    inputs = {spec.name: spec for spec in model.inputs}
    caches = [
        f"past_key_values.{layer}.{part}"
        for layer in range(decoder.layers)
        for part in ("key", "value")
    ]
    wanted = {"input_ids", "attention_mask", *caches}
    if odd := sorted(wanted ^ set(inputs)):
        return [
            Finding(
                "the graph is not a decoder that the engine runs",
                where,
                f"input_ids, attention_mask and a cache for each of {decoder.layers} layers",
                f"it differs in {', '.join(odd[:4])}",
                "export it for the CPU with the builder of ONNX Runtime GenAI (docs/generative.md)",
            )
        ]
    found = [
        Finding(
            "the cache of the graph is not what genai_config.json says",
            f"{where}: {name}",
            f"{decoder.kv_heads} heads of {decoder.head_size}",
            f"{inputs[name].datatype} {list(inputs[name].shape)}",
        )
        for name in caches
        if not _is_cache(inputs[name], decoder)
    ]
    if "GroupQueryAttention" not in model.operators:
        found.append(
            Finding(
                "the engine needs attention that takes the length of each row from the mask",
                where,
                "com.microsoft.GroupQueryAttention",
                "none in the graph",
                "export it with the builder of ONNX Runtime GenAI, which uses it for most families",
            )
        )
    return found[:6]


def _is_cache(spec: TensorSpec, decoder: Decoder) -> bool:
    shape = spec.shape
    return (
        spec.datatype in _FLOATS
        and len(shape) == 4
        and shape[1] in (-1, decoder.kv_heads)
        and shape[3] in (-1, decoder.head_size)
    )


def _file(name: str, path: Path) -> ModelFile:
    try:
        return ModelFile(name, path, Digest.of_file(path), path.stat().st_size)
    except OSError as error:
        raise InputError("a file of the model cannot be read", where=str(path)) from error
