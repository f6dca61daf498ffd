"""Text as it grows: whole characters, and stop strings that never leak in part."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

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
