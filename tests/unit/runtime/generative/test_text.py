"""Text as it grows: whole characters, and stop strings that never leak in part."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE

from packager.runtime.generative.text import Detokenizer, StopStrings


def bytes_decode(tokens: list[int]) -> str:
    """A tokenizer whose tokens are bytes: the worst case for characters."""
    return bytes(tokens).decode("utf-8", "replace")


@given(st.text(max_size=60), st.lists(st.integers(1, 7), max_size=40))
def test_pieces_of_characters_are_held_back(text: str, sizes: list[int]) -> None:
    data = list(text.encode())
    words = Detokenizer(bytes_decode)
    shown, at = "", 0
    for size in [*sizes, len(data)]:
        piece = words.feed(data[at : at + size])
        assert "\ufffd" not in piece or "\ufffd" in text
        shown += piece
        at += size
    assert shown + words.rest() == text


WORDS = ("▁", "▁the", "▁Hello", "he", "l", "o", "é", "日", ".", "'s", "▁▁")
SENTENCE_PIECE = (decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse())
DECODERS = {
    "llama": decoders.Sequence([*SENTENCE_PIECE, decoders.Strip(" ", 1, 0)]),
    "gemma": decoders.Sequence([*SENTENCE_PIECE]),
    "metaspace": decoders.Metaspace(),
}
FIRST_BYTE, FIRST_WORD = 3, 259


def sentence_piece(decoder: str) -> Tokenizer:
    """As Llama's and Gemma's: words with a mark for a space, and bytes for what is no word."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    model = BPE({name: place for place, name in enumerate(names)}, [], byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = DECODERS[decoder]
    return tokenizer


words = st.integers(FIRST_WORD, FIRST_WORD + len(WORDS) - 1).map(lambda token: [token])
characters = st.characters(min_codepoint=0x80, exclude_categories=["Cs"]).map(
    lambda character: [FIRST_BYTE + byte for byte in character.encode()]
)
anything = st.integers(0, FIRST_WORD + len(WORDS) - 1).map(lambda token: [token])


@pytest.mark.parametrize("decoder", DECODERS)
@given(
    st.lists(words | characters | anything, max_size=14),
    st.lists(st.integers(1, 5), max_size=20),
)
def test_a_sentence_piece_tokenizer_says_the_same_however_it_comes(
    decoder: str, parts: list[list[int]], sizes: list[int]
) -> None:
    """And, where its bytes are text, what all of it says at once."""
    tokens = [token for part in parts for token in part]
    decode = sentence_piece(decoder).decode

    def said(sizes: list[int]) -> str:
        growing, shown, at = Detokenizer(decode), "", 0
        for size in [*sizes, len(tokens) or 1]:
            shown += growing.feed(tokens[at : at + size])
            at += size
        return shown + growing.rest()

    shown = said(sizes)
    assert shown == said([1] * len(tokens))
    if "\ufffd" not in decode(tokens) or decoder == "metaspace":
        assert shown == decode(tokens)


@settings(max_examples=500)
@given(
    st.text(alphabet="abc", max_size=40),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 5), max_size=40),
)
def test_stop_strings_cut_where_they_would_in_the_whole_text(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    expected = text
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    if found:
        expected = text[: min(found)[1]]
    passing = StopStrings(stops)
    shown, at = "", 0
    for size in [*sizes, len(text)]:
        shown += passing.feed(text[at : at + size])
        assert expected.startswith(shown)
        at += size
    if passing.matched is None:
        shown += passing.rest()
    assert shown == expected
    assert (passing.matched is not None) == bool(found)


def test_bytes_that_are_no_text_are_shown_in_the_end() -> None:
    words = Detokenizer(bytes_decode)
    shown = "".join(words.feed([0xFF]) for _ in range(40)) + words.rest()
    assert shown == "\ufffd" * 40
