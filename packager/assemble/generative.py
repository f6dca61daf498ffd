"""The entry `generative` of server.json: a text model, its tokenizer, and how it is run.

Everything in it was measured or declared; nothing is decided here.
"""

from __future__ import annotations

from packager.assemble.model_files import (
    GOLDEN_TEXT,
    GRAPH,
    model_folder,
    placed_files,
)
from packager.domain.generation import Decoder, GenerationSettings, Speculating
from packager.domain.jurisdiction import Marking
from packager.domain.model import OptimizedModel
from packager.domain.release import PlannedTarget, ReleaseRequest

CONFIGURATION = "genai_config.json"
TOKENIZER = "tokenizer.json"
CHAT_TEMPLATE = "chat_template.jinja"
DRAFT = "draft"


def generative_entry(
    target: PlannedTarget, request: ReleaseRequest, model: OptimizedModel
) -> dict[str, object]:
    """The entry for one target. Raises InputError as `placed_files` does."""
    settings = model.generation
    assert settings is not None  # noqa: S101 - asked for by the caller's condition
    folder = model_folder(request.model_name)
    placed = placed_files(model)
    names = {name for name, *_ in placed}
    decoder = settings.decoder
    return {
        "name": request.model_name.name,
        "version": request.model_name.version,
        "files": [
            {"path": f"{folder}/{name}", "sha256": digest.hex, "size": size}
            for name, _, digest, size in placed
        ],
        "decoder": _decoder(f"{folder}/{GRAPH}", decoder, model.intra_op_threads),
        "execution_provider": target.hardware.execution_provider,
        "provider_options": {},
        "tokenizer": f"{folder}/{TOKENIZER}",
        "chat_template": f"{folder}/{CHAT_TEMPLATE}" if CHAT_TEMPLATE in names else None,
        "vocabulary": decoder.vocabulary,
        "end_tokens": list(decoder.end_tokens),
        "begin_token": decoder.begin_token,
        "slots": settings.slots,
        "slot_tokens": settings.context,
        "prefill_chunk": settings.prefill_chunk,
        "max_queue_size": settings.queue,
        "shared_prefixes": settings.shared_prefixes,
        "speculation": _speculation(settings, folder),
        "golden": {"path": f"{folder}/{GOLDEN_TEXT}"} if model.golden else None,
        **_engine(settings, folder),
        **marks(target, request),
    }


def marks(target: PlannedTarget, request: ReleaseRequest) -> dict[str, object]:
    """What the jurisdiction wants every answer to be marked with; nothing where none does."""
    asked = target.jurisdiction.markings(request.data_class)
    generation = request.serving.generation
    if not asked or generation is None:
        return {}
    found: dict[str, object] = {"marker": f"true; required-by={','.join(sorted(asked))}"}
    if Marking.LABEL_AND_METADATA in asked.values():
        found["aigc"] = {"producer": generation.producer or ""}
    return found


def _decoder(path: str, decoder: Decoder, threads: int) -> dict[str, object]:
    return {
        "path": path,
        "layers": decoder.layers,
        "kv_heads": decoder.kv_heads,
        "head_size": decoder.head_size,
        "intra_op_threads": threads,
    }


def _engine(settings: GenerationSettings, folder: str) -> dict[str, object]:
    """Who runs the graph, and what the library reads where it is one of its engines."""
    if not settings.engine.of_library:
        return {}
    return {"engine": settings.engine.value, "genai_config": f"{folder}/{CONFIGURATION}"}


def _speculation(settings: GenerationSettings, folder: str) -> dict[str, object]:
    if settings.speculation in (Speculating.OFF, Speculating.AUTO):
        return {"kind": Speculating.OFF.value}
    told: dict[str, object] = {"kind": settings.speculation.value, "tokens": settings.guessed}
    if settings.speculation is Speculating.DRAFT and settings.draft:
        path = f"{folder}/{DRAFT}/{GRAPH}"
        told["draft"] = _decoder(path, settings.draft, settings.draft_threads)
    return told
