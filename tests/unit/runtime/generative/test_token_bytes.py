"""The bytes of a token: put together, those of the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from packager.runtime.generative.token_bytes import TokenBytes

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({name: place for place, name in enumerate(ALPHABET)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end of it|>", special=True)])
    return tokenizer


def sentence_piece() -> Tokenizer:
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "cat", "▁"]
    vocabulary = {name: place for place, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


@given(st.text(max_size=30))
def test_together_they_are_the_text(text: str) -> None:
    for tokenizer in (byte_level(), sentence_piece()):
        told = TokenBytes(tokenizer)
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        if "<|" not in text and not any(word in text for word in ("▁", "<0x", "<unk>", "cat")):
            assert b"".join(map(told, tokens)) == text.encode()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("▁the", b" the"), ("cat", b"cat"), ("<0xE6>", b"\xe6"), ("▁", b" ")],
)
def test_words_keep_the_space_in_front(name: str, expected: bytes) -> None:
    tokenizer = sentence_piece()
    assert TokenBytes(tokenizer)(tokenizer.token_to_id(name)) == expected


def test_an_added_token_stands_for_itself() -> None:
    tokenizer = byte_level()
    told = TokenBytes(tokenizer)
    assert told(tokenizer.token_to_id("<|end of it|>")) == b"<|end of it|>"
    assert told(99_999) == b""
