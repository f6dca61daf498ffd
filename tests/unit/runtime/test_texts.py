"""Texts of a request in runs that a model can bear, each text as if it had come alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from packager.runtime.configuration import ModelSettings
from packager.runtime.datatypes import DATATYPES, TensorSpec
from packager.runtime.texts import MOST_TOKENS, Tokens

WORDS = {"[UNK]": 0, **{f"w{number}": number for number in range(1, 50)}}
ALL = ("input_ids", "attention_mask", "token_type_ids")


def tokens(names: tuple[str, ...], *, padding: int = 0) -> Tokens:
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    if padding:
        tokenizer.enable_padding(length=padding)
    inputs = tuple(TensorSpec(name, DATATYPES["INT64"], (-1, -1)) for name in names)
    settings = ModelSettings(
        "m", "1", "m.onnx", (), inputs, (), "CPUExecutionProvider", {}, 0, None
    )
    return Tokens(settings, 512, tokenizer.to_str().encode())


def text(length: int) -> str:
    return " ".join(f"w{place % 49 + 1}" for place in range(length))


@given(st.lists(st.integers(1, 600), min_size=1, max_size=120), st.booleans())
def test_every_text_is_in_one_bounded_run(lengths: list[int], masked: bool) -> None:
    pieces, count = tokens(ALL if masked else ALL[:1]).pieces([text(each) for each in lengths])
    kept = [min(each, 512) for each in lengths]  # the tokenizer cuts longer ones
    assert count == sum(kept)
    assert sorted(place for piece in pieces for place in piece.places) == list(range(len(lengths)))
    for piece in pieces:
        assert piece.mask.size <= MOST_TOKENS or len(piece.places) == 1
        assert {array.shape for array in piece.inputs.values()} == {piece.mask.shape}
        assert piece.mask.sum(axis=1).tolist() == [kept[place] for place in piece.places]
        if not masked:
            assert piece.mask.all(), "a model that is not told of padding gets none"
        for place, row in zip(piece.places, piece.inputs["input_ids"], strict=True):
            assert row[: kept[place]].tolist() == [each % 49 + 1 for each in range(kept[place])]
            assert not row[kept[place] :].any()


def test_a_file_that_pads_to_a_length_pads_nothing_here() -> None:
    ((piece,), count) = tokens(ALL, padding=128).pieces(["w1 w2", "w3"])
    assert (count, piece.mask.shape, piece.places) == (3, (2, 2), (1, 0))


def test_two_thousand_long_texts_are_many_runs() -> None:
    pieces, count = tokens(ALL).pieces([text(512)] * 2048)
    assert (len(pieces), count) == (128, 2048 * 512)


@pytest.mark.parametrize("words", ["", " "])
def test_a_text_without_a_token_is_a_row(words: str) -> None:
    ((piece,), count) = tokens(ALL).pieces([words])
    assert (piece.mask.shape, count) == ((1, 0), 0)
    assert piece.inputs["input_ids"].dtype == np.int64
