"""Text generation: whether a model with its caches fits, and how what it says is marked.

Marking comes in several kinds, and only what the server itself does in every answer counts as
enforced. A law that wants users to see a label wants more than a header: that is left to whoever
shows the text, whatever the server sends with it.
"""

from __future__ import annotations

from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Decision, Status
from packager.domain.generation import CPU, CUDA, USABLE_MEMORY, Generation, TextEngine
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.jurisdiction import Marking, Rule

# What a number format that is pinned leaves of FP32 weights, tables of embeddings aside; rough.
_LEFT_OF_FP32 = {Precision.INT8: 0.35, Precision.INT4: 0.25}


def decide_generation(situation: Situation) -> list[Decision]:
    """The checks of a generative model; none for another one."""
    generation = situation.request.serving.generation
    if generation is None:
        return []
    memory = _memory(situation, generation)
    engine = _engine(situation, generation)
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


def _engine(situation: Situation, generation: Generation) -> Outcome:
    hardware = situation.target.hardware
    provider, decoder = hardware.execution_provider, generation.decoder
    engine = generation.engine_on(provider)
    record = (situation.request.quality_path(hardware.id),)
    other = "choose a profile of a CPU, such as x86-64-v3 or arm64-v8 (packager targets list)"
    runs_on = (CPU, CUDA) if engine is TextEngine.LIBRARY else (CPU,)
    if provider not in runs_on:
        return Outcome(
            Status.VIOLATED,
            f"{hardware.id} runs models with {provider}, and the engine for text ({engine.value}) "
            f"runs with {' or '.join(runs_on)}",
            remedy=other,
        )
    match engine:
        case TextEngine.LIBRARY if provider == CUDA and (cuda := _cuda(hardware)) != "13":
            return Outcome(
                Status.VIOLATED,
                "ONNX Runtime GenAI's engine is built for CUDA 13, whose driver is 580 or later; "
                f"{hardware.id} promises CUDA {cuda}",
                remedy="choose the same device's profile for CUDA 13, such as nvidia-l4-cuda13",
            )
        case TextEngine.GENERATOR if decoder.unknown:
            return Outcome(
                Status.VIOLATED,
                f"no engine takes this graph on {hardware.id}: {'; '.join(decoder.unknown)}",
                remedy="export a model of another family for the CPU with the builder of ONNX "
                "Runtime GenAI: packager export (docs/generative.md)",
            )
        case TextEngine.GENERATOR:
            why = "; ".join(decoder.objections) or "the release names it"
            return Outcome(
                Status.EVIDENCED,
                f"served serially by ONNX Runtime GenAI's generator: {why}. Conversations take "
                "turns and share no step, so more of them at a time say no more tokens a second",
                record,
            )
        case TextEngine.LIBRARY if provider == CPU:
            return Outcome(
                Status.EVIDENCED,
                "served by ONNX Runtime GenAI's engine, as the release names it; on a CPU it "
                "batches what waits together, and who comes later waits until that is done",
                record,
            )
        case TextEngine.LIBRARY:
            return Outcome(
                Status.LEFT_TO_OPERATOR,
                "served by ONNX Runtime GenAI's engine, which batches continuously with a graph "
                "exported for paged attention; its adapter was run on a CPU only, so try it on "
                f"{hardware.id} before you rely on it",
                record,
            )
        case _:
            return Outcome(Status.EVIDENCED, f"{hardware.id} runs it with {provider}", record)


def _cuda(hardware: HardwareProfile) -> str:
    """The major version of CUDA that the profile promises."""
    named = hardware.accelerator.cuda if hardware.accelerator else None
    return (named or "13").partition(".")[0]


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
        record = situation.request.quality_path(hardware.id)
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
