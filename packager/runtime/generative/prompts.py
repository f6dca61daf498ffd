"""What a model is asked, as tokens: its chat template, its tokenizer, and how long a text may be.

What no slot could hold is refused by its length in characters, before any token of it is made. A
long text is read in a thread, where the tokenizer lets go of the interpreter: no health check and
nobody's answer waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path

from .asked import Asked, wrong
from .settings import GenerativeSettings
from .template import ChatTemplate

LONG_BODY = 1 << 14


class Prompts:
    """Reads the prompts of one model; large ones with the help of `helpers`."""

    def __init__(self, folder: Path, settings: GenerativeSettings, helpers: Executor) -> None:
        from tokenizers import Tokenizer

        self._settings = settings
        self._helpers = helpers
        self.tokenizer = Tokenizer.from_file(str(folder / settings.tokenizer))
        template = settings.chat_template
        self._template = (
            ChatTemplate((folder / template).read_text(encoding="utf-8")) if template else None
        )
        begin, ends = settings.begin_token, settings.end_tokens
        self._special = {
            "bos_token": "" if begin is None else self.tokenizer.id_to_token(begin) or "",
            "eos_token": self.tokenizer.id_to_token(ends[0]) or "" if ends else "",
        }

    async def read(self, asked: Asked) -> list[tuple[int, ...]]:
        """The tokens of each prompt; raises RequestError (400, 413), for every token that the
        request names and the model does not have, too."""
        self._known((int(token) for token in asked.sampling["logit_bias"]), "logit_bias")
        if asked.size <= LONG_BODY:
            return self._read(asked)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._helpers, self._read, asked)

    def _read(self, asked: Asked) -> list[tuple[int, ...]]:
        if not asked.messages:
            return [self._prompt(prompt) for prompt in asked.prompts]
        if self._template is None:
            raise wrong("this model has no chat template; use /v1/completions")
        slot = self._settings.slot_tokens
        if len(asked.messages) > slot:
            raise wrong(f"{len(asked.messages)} are more than the {slot} tokens that this model"
                        " holds", "messages")  # fmt: skip
        text = self._template.render(asked.messages, self._special, asked.tools)
        return [self._known(self._encode(text, special=False), "messages")]

    def _prompt(self, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
        tokens = self._encode(prompt, special=True) if isinstance(prompt, str) else prompt
        return self._known(tokens, "prompt")

    def _known(self, tokens: Iterable[int], parameter: str) -> tuple[int, ...]:
        found = tuple(tokens)
        if any(token >= self._settings.vocabulary for token in found):
            raise wrong("a token is not in the vocabulary", parameter)
        return found

    def _encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        if len(text) <= LONG_BODY:
            tokens = self.tokenizer.encode(text, add_special_tokens=special).ids
        else:
            most = self._settings.slot_tokens * self._longest_token
            if len(text) > most:
                slot = self._settings.slot_tokens
                raise wrong(
                    f"this model holds {slot} tokens; the prompt has {len(text)} characters, and"
                    f" no {slot} tokens have more than {most}"
                )
            # Unlike `encode`, it lets go of the interpreter.
            (encoded,) = self.tokenizer.encode_batch([text], add_special_tokens=special)
            tokens = encoded.ids
        if not tokens:
            raise wrong("the prompt is empty")
        return tuple(tokens)

    @cached_property
    def _longest_token(self) -> int:
        """In characters. Byte-level vocabularies write a byte as a character, so that no text has
        more characters than its tokens."""
        return max(map(len, self.tokenizer.get_vocab()))
