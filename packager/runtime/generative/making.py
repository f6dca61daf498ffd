"""From settings to the engine that they name. What an engine needs is imported only with it."""

from __future__ import annotations

from pathlib import Path

from .drafting import Drafter, ModelDrafter, PromptLookup
from .engine import Engine, Limits
from .jobs import Decoder, TextEngine
from .settings import EngineKind, GenerativeSettings, Speculation


def build_engine(folder: Path, settings: GenerativeSettings) -> TextEngine:
    """The engine of verified files; raises Refusal."""
    if settings.engine is EngineKind.LIBRARY:
        from .library_engine import LibraryEngine

        return LibraryEngine(folder, settings)
    speculation = settings.speculation
    drafter: Drafter | None = None
    if speculation.kind is Speculation.LOOKUP:
        drafter = PromptLookup(speculation.ngram)
    elif speculation.draft is not None:
        from .decoder import SlotDecoder

        # A draft that guessed would be guessed along for the slots that may guess, and no others.
        drafter = ModelDrafter(
            SlotDecoder(folder, speculation.draft, settings.slots, settings.slot_tokens)
        )
    return Engine(
        _decoder(folder, settings),
        settings.end_tokens,
        Limits(
            settings.prefill_chunk,
            speculation.tokens,
            speculation.most_active,
            settings.shared_prefixes,
        ),
        drafter,
    )


def _decoder(folder: Path, settings: GenerativeSettings) -> Decoder:
    if settings.engine is EngineKind.GENERATOR:
        from .generators import Generators

        return Generators(folder, settings)
    from .decoder import SlotDecoder

    return SlotDecoder(
        folder,
        settings.decoder,
        settings.slots,
        settings.slot_tokens,
        settings.execution_provider,
        settings.provider_options,
    )
