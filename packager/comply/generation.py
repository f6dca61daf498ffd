"""Text generation: whether a model with its caches fits, and how what it says is marked.

Marking comes in several kinds, and only what the server itself does in every answer counts as
enforced. A law that wants users to see a label wants more than a header: that is left to whoever
shows the text, whatever the server sends with it.
"""

from __future__ import annotations

from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Decision, Status
from packager.domain.generation import USABLE_MEMORY, Generation
from packager.domain.hardware import Precision
from packager.domain.jurisdiction import Marking, Rule

_RUNS_TEXT = "CPUExecutionProvider"
# What a number format that is pinned leaves of FP32 weights, tables of embeddings aside; rough.
_LEFT_OF_FP32 = {Precision.INT8: 0.35, Precision.INT4: 0.25}


def decide_generation(situation: Situation) -> list[Decision]:
    """The checks of a generative model; none for another one."""
    generation = situation.request.serving.generation
    if generation is None:
        return []
    memory = _memory(situation, generation)
    engine = _engine(situation)
    return [
        Decision(
            "generation/engine",
            "The engine for text runs on this hardware.",
            *(engine.status, engine.why, engine.by, engine.remedy),
        ),
        Decision(
            "generation/memory",
            "The model and the caches of all its conversations fit the profile's memory.",
            *(memory.status, memory.why, memory.by, memory.remedy),
        ),
    ]


def decide_marking(rule: Rule, situation: Situation) -> Outcome:
    """How a rule on marking what a machine wrote comes out for a generative model."""
    record = (situation.image_record,)
    sent = "every answer carries `ai_generated` in its JSON and X-AI-Generated in its header"
    match rule.marking:
        case Marking.MACHINE_READABLE:
            return Outcome(
                Status.ENFORCED,
                f"{sent}; whoever passes the text on has to keep a mark with it",
                record,
            )
        case Marking.LABEL_AND_METADATA:
            return Outcome(
                Status.LEFT_TO_OPERATOR,
                f"{_metadata(situation)}; the visible label is yours to show beside the text (such "
                "as 'AI生成'), and the metadata yours to write into files: the server adds neither",
                record,
            )
        case _:
            return Outcome(
                Status.LEFT_TO_OPERATOR,
                f"{sent}; telling users beforehand, and a label that they see, are left to whoever "
                "shows the text",
                record,
            )


def _metadata(situation: Situation) -> str:
    generation = situation.request.serving.generation
    if generation and generation.producer:
        return (
            "every answer carries the metadata label AIGC with the producer "
            f"{generation.producer!r}, as you declared, and a number of its own"
        )
    return (
        "every answer carries the metadata label AIGC with a number of its own, but without a "
        "producer: name yours with `generation: {producer: …}`"
    )


def _engine(situation: Situation) -> Outcome:
    hardware = situation.target.hardware
    if hardware.execution_provider == _RUNS_TEXT:
        return Outcome(
            Status.EVIDENCED,
            f"{hardware.id} runs it with {_RUNS_TEXT}",
            (f"evidence/quality/{hardware.id}.json",),
        )
    return Outcome(
        Status.VIOLATED,
        f"{hardware.id} runs models with {hardware.execution_provider}, and the engine for text "
        f"keeps its caches for {_RUNS_TEXT} only",
        remedy="choose a profile of a CPU, such as x86-64-v3 or arm64-v8 (packager targets list)",
    )


def _memory(situation: Situation, generation: Generation) -> Outcome:
    hardware, pinned = situation.target.hardware, situation.request.precision
    memory = hardware.memory_gb * 1e9
    left_of = _LEFT_OF_FP32.get(pinned, 1.0) if pinned else 1.0
    weights = int(generation.decoder.weights * left_of)
    weights += generation.draft.weights if generation.draft else 0
    slots = generation.slots or 1
    caches = slots * generation.slot_bytes()
    room = generation.slots_within(memory, weights)
    told = (
        f"weights of {_size(weights)} and {slots} × {generation.context} tokens of keys and values "
        f"({_size(caches)}) in {USABLE_MEMORY:.0%} of {hardware.memory_gb:g} GB"
    )
    if slots <= room:
        more = "" if generation.slots else f"; measuring says how many of at most {room} pay"
        record = f"evidence/quality/{hardware.id}.json"
        return Outcome(Status.EVIDENCED, f"estimated: {told}{more}", (record,))
    return Outcome(
        Status.VIOLATED,
        f"{told} do not fit",
        remedy=_what_fits(generation, memory, weights, room),
    )


def _what_fits(generation: Generation, memory: float, weights: int, room: int) -> str:
    if room:
        return (
            f"at this context `generation: {{slots: {room}}}` fits; or write a shorter `context`, "
            "or choose hardware with more memory"
        )
    for_one = generation.tokens_within(memory, weights)
    if for_one >= 2:
        return (
            f"one slot fits with `generation: {{context: {for_one}}}`; or choose hardware with "
            "more memory"
        )
    return "the weights alone do not fit: choose hardware with more memory, or a smaller model"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
