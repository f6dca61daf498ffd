"""Reads `model.kind` and the section `generation:` of release.yaml."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from packager.decoder_folder import read_decoder
from packager.domain.generation import (
    MOST_SLOTS,
    PERPLEXITY_AT_MOST,
    USUAL_CONTEXT,
    Decoder,
    Generation,
    ModelKind,
    Speculating,
    TextEngine,
)
from packager.errors import InputError
from packager.section import Section

_MOST_QUEUE = 1 << 16
_MOST_PERPLEXITY = 10.0


def read_kind(model: Section) -> ModelKind:
    """`model.kind`; a model takes and gives tensors unless it is said to generate text."""
    return model.choice("kind", ModelKind, ModelKind.PREDICTIVE)


def read_generation(root: Section, kind: ModelKind, model: Path) -> Generation | None:
    """The section, with the decoder in the folder `model`; None for a model of another kind.

    What is wrong is noted, and then there is none.
    """
    if kind is not ModelKind.GENERATIVE:
        if "generation" in root:
            root.note(
                "generation",
                "only a generative model has settings of generation",
                next_step="write model.kind: generative, or remove the section",
            )
            root.section("generation").keys()
        return None
    section = root.section("generation")
    if "serving" in root:
        root.note("serving", "a generative model has no other steps around it")
    engine = section.choice("engine", TextEngine, TextEngine.AUTO)
    speculation = section.choice("speculation", Speculating, Speculating.AUTO)
    draft_folder = section.optional_text("draft")
    slots = _whole(section, "slots", MOST_SLOTS)
    context = _whole(section, "context", 1 << 22)
    queue = _whole(section, "queue", _MOST_QUEUE)
    perplexity = section.number("perplexity_at_most", PERPLEXITY_AT_MOST)
    if not 1 < perplexity <= _MOST_PERPLEXITY:
        section.note(
            "perplexity_at_most",
            "out of range",
            expected="a ratio to the source's perplexity above 1, such as 1.02",
            got=f"{perplexity:g}",
        )
    grammars = section.flag("grammars", False)
    shared = section.flag("shared_prefixes", False)
    producer = _producer(section)
    decoder = _decoder(root, model, draft=False)
    draft = _decoder(section, root.file.parent / draft_folder, draft=True) if draft_folder else None
    if decoder is None:
        return None
    if speculation is Speculating.DRAFT and draft_folder is None:
        section.note("draft", "speculation by a draft needs one", expected="its folder")
    _note_engine(section, engine, speculation, decoder)
    if draft and draft.vocabulary != decoder.vocabulary:
        section.note(
            "draft",
            "the draft has another vocabulary than the model",
            expected=str(decoder.vocabulary),
            got=str(draft.vocabulary),
        )
    if context is not None and not 2 <= context <= decoder.context:
        longer = (
            "longer than the text up to which the graph says what the model says"
            if decoder.reach == decoder.context
            else "longer than the model can read"
        )
        section.note(
            "context",
            longer if context > 2 else "too short for an answer",
            expected=f"2 to {decoder.context} tokens",
            got=str(context),
        )
    made = generation_of(decoder)
    return replace(
        made,
        context=context or made.context,
        slots=slots,
        speculation=speculation,
        draft=draft,
        grammars=grammars,
        shared_prefixes=shared,
        queue=queue or made.queue,
        perplexity_at_most=perplexity if math.isfinite(perplexity) else PERPLEXITY_AT_MOST,
        producer=producer,
        engine=engine,
    )


def _note_engine(
    section: Section, engine: TextEngine, speculation: Speculating, decoder: Decoder
) -> None:
    """What the engine that is named, or that the graph asks for, does not do."""
    if engine is TextEngine.PACKAGER and decoder.objections:
        section.note(
            "engine",
            "packager's engine does not take this graph",
            expected="auto, or genai-generator, which runs it serially",
            got="; ".join(decoder.objections),
        )
    library = engine.of_library or (engine is TextEngine.AUTO and bool(decoder.objections))
    named = speculation not in (Speculating.AUTO, Speculating.OFF)
    lookup = speculation is Speculating.LOOKUP and engine is not TextEngine.LIBRARY
    if library and named and not lookup:
        section.note(
            "speculation",
            "the engine that serves this graph does not guess that way",
            expected="off, or lookup with genai-generator",
            got=speculation.value,
        )


def generation_of(decoder: Decoder) -> Generation:
    """The usual settings for a decoder."""
    return Generation(decoder, min(decoder.context, USUAL_CONTEXT))


def _decoder(section: Section, folder: Path, *, draft: bool) -> Decoder | None:
    """Noted are all findings of the folder, under the key that names it."""
    try:
        return read_decoder(folder, draft=draft)
    except InputError as error:
        for finding in error.findings:
            what = f"{finding.what} ({finding.where})"
            section.note(
                "draft" if draft else "model",
                what,
                expected=finding.expected,
                got=finding.got,
                next_step=finding.next_step,
            )
        return None


def _producer(section: Section) -> str | None:
    producer = section.optional_text("producer")
    if producer is not None and not (0 < len(producer) <= 200 and producer.isprintable()):
        section.note("producer", "not a name or code", expected="1 to 200 printable characters")
    return producer


def _whole(section: Section, key: str, most: int) -> int | None:
    if key not in section:
        section.optional_number(key)
        return None
    value = section.whole(key)
    if not 1 <= value <= most:
        section.note(key, "out of range", expected=f"1 to {most}", got=str(value))
        return 1
    return value
