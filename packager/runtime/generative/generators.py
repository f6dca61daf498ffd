"""The library's serial generators behind the interface of our decoder: one for each slot.

For graphs that `SlotDecoder` does not take: attention without GroupQueryAttention, further inputs.
The library knows what a graph wants from its genai_config.json. Nothing is batched: a step of
several conversations is several runs, one after the other. But tokens are chosen by our own
sampling out of the library's logits, so that seeds, penalties, log-probabilities and grammars do
what they do elsewhere, and prompts are read in chunks, so that nobody waits for another one's.

A generator allocates the cache of a whole conversation at once, so it is made when a slot gets its
first tokens, and dropped when the slot has nothing left that it could continue from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExitCode, Refusal
from .jobs import Array
from .library import genai, open_model
from .settings import GenerativeSettings


class Generators:
    """`lengths[slot]` tokens of each slot were read. Used by one thread alone."""

    def __init__(self, folder: Path, settings: GenerativeSettings) -> None:
        self._library = genai()
        self._model = open_model(folder, settings)
        self._settings = settings
        self.slots, self.slot_tokens = settings.slots, settings.slot_tokens
        self.lengths = [0] * self.slots
        self._tokens: list[list[int]] = [[] for _ in range(self.slots)]
        self._generators: dict[int, Any] = {}

    def back_to(self, slot: int, length: int) -> None:
        """Forget what a slot read behind its first `length` tokens."""
        kept = self._tokens[slot][:length]
        if len(kept) == self.lengths[slot]:
            return
        self._tokens[slot], self.lengths[slot] = kept, length
        generator = self._generators.get(slot)
        if generator is None:
            return
        if not length:
            del self._generators[slot]
            return
        try:
            generator.rewind_to(length)
        except Exception:  # caches of some kinds cannot go back: what is kept is read again
            del self._generators[slot]
            self._append(slot, kept)

    def read(self, slot: int, tokens: Sequence[int]) -> Array:
        """Append tokens to a slot; the logits after each of them, or after the last one where the
        graph gives no others, `[tokens, vocabulary]`."""
        rows = self._append(slot, tokens)
        self._tokens[slot] += tokens
        self.lengths[slot] += len(tokens)
        return rows

    def begin(self, prompts: Mapping[int, Sequence[int]]) -> dict[int, Array]:
        """Read whole prompts into empty slots, one slot after the other."""
        return {slot: self.read(slot, tokens)[-1] for slot, tokens in prompts.items()}

    def step(self, tokens: Mapping[int, int]) -> dict[int, Array]:
        """Append one token to each of several slots, one slot after the other."""
        return {slot: self.read(slot, [token])[-1] for slot, token in tokens.items()}

    def _append(self, slot: int, tokens: Sequence[int]) -> Array:
        generator = self._generators.get(slot)
        if generator is None:
            generator = self._generators[slot] = self._made()
        generator.append_tokens(np.array(tokens, np.int32))
        rows: Array = np.asarray(generator.get_output("logits")[0], np.float32)
        return rows

    def _made(self) -> Any:
        parameters = self._library.GeneratorParams(self._model)
        # Else it is the model's whole context, with a cache for all of it.
        parameters.set_search_options(max_length=self.slot_tokens, batch_size=1, num_beams=1)
        try:
            return self._library.Generator(self._model, parameters)
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            raise Refusal(
                ExitCode.DATA, f"{self._settings}: ONNX Runtime GenAI has no generator: {told}"
            ) from error
