"""What is baked into server.json for text: what the release names, else what was measured."""

from __future__ import annotations

from packager.domain.generation import (
    Generation,
    GenerationSettings,
    Pace,
    Speculating,
    TextEngine,
)
from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model
from packager.optimize.processes import Failure
from packager.optimize.record import Row, TextRow
from packager.optimize.text.measuring import best_chunk, best_guess, best_slots

_TAKING_TURNS = 4
"""Conversations that a serial engine lets take turns: none waits for all of another one's answer,
and no more caches are held than that."""


def generation_settings(
    generation: Generation,
    row: Row | None,
    threads: int,
    tuned: TextRow | Failure,
    hardware: HardwareProfile,
    chosen: Model,
    cost: tuple[float, float] | None,
    engine: TextEngine = TextEngine.PACKAGER,
) -> GenerationSettings:
    """What is baked into server.json: what the release names, else what was measured."""
    weights = chosen.size + (generation.draft.weights if generation.draft else 0)
    room = generation.slots_within(hardware.memory_gb * 1e9, weights)
    slots = generation.slots or best_slots(row, threads, room)
    if engine is TextEngine.GENERATOR and not generation.slots:
        slots = min(slots, _TAKING_TURNS)
    chunks = tuned.chunks if isinstance(tuned, TextRow) else ()
    guess = (
        best_guess(tuned.guesses, generation.speculation) if isinstance(tuned, TextRow) else None
    )
    kind = Speculating(guess.kind) if guess else Speculating.OFF
    named = generation.speculation
    if guess is None and named not in (Speculating.AUTO, Speculating.OFF):
        kind = named  # not measured here: as the release says
    figures = row.figures if row else ()
    found = "by measurement" if row else "not measured"
    told = [f"slots {'as declared' if generation.slots else found}"]
    if isinstance(tuned, Failure):
        told.append(f"nothing was tuned: {tuned.reason}")
    return GenerationSettings(
        decoder=generation.decoder,
        context=generation.context,
        slots=slots,
        prefill_chunk=min(best_chunk(chunks), generation.context),
        speculation=kind,
        guessed=guess.tokens if guess else 4,
        draft=generation.draft,
        draft_threads=guess.threads if guess else 1,
        gain=guess.gain if guess else None,
        queue=generation.queue,
        shared_prefixes=generation.shared_prefixes,
        paces=tuple(
            Pace(one.batch, one.throughput_per_s, one.latency_p50_ms)
            for one in figures
            if one.threads == threads
        ),
        cost_usd_per_million=cost,
        why=tuple(told),
        engine=engine,
    )
