"""The bytes of one token, for log-probabilities: a token may be a part of a character.

A tokenizer's `decode` is made for whole texts. Of a single token it drops the space in front
(Llama's), and shows U+FFFD for a part of a character. What the vocabulary writes says more: bytes
as the printable characters of GPT-2's table, or as `<0xE6>`, and spaces as `▁` (U+2581).
"""

from __future__ import annotations

import re
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


class TokenBytes:
    """Of the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._name = tokenizer.id_to_token
        decoder = repr(tokenizer.decoder)
        self._table = _byte_level() if "ByteLevel" in decoder else None
        self._sentence_piece = "ByteFallback" in decoder or _SPACE in decoder

    def __call__(self, token: int) -> bytes:
        """Empty for a number that is no token of the vocabulary."""
        written: str = self._name(token) or ""
        if self._table is not None:
            values = [self._table.get(character) for character in written]
            known = [value for value in values if value is not None]
            # Tokens that were added to the vocabulary stand for themselves.
            return bytes(known) if len(known) == len(values) else written.encode()
        if self._sentence_piece:
            if found := _BYTE.fullmatch(written):
                return bytes([int(found[1], 16)])
            written = written.replace(_SPACE, " ")
        return written.encode()


def _byte_level() -> dict[str, int]:
    """GPT-2's table: printable bytes are themselves, the others follow from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
