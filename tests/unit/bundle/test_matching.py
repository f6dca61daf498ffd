"""What of new bytes lies in old ones: exact at both ends, whatever moved, in bounded memory."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weights import fine_tuned, initializers

from packager.bundle.chunking import MAXIMUM, MINIMUM, chunks
from packager.bundle.matching import ChunkIndex, OldBlob, match
from packager.bundle.rebuilding import RecipeStream
from packager.bundle.recipe import Recipe
from packager.digest import Digest
from packager.errors import VerificationError


def blob(data: bytes) -> OldBlob:
    return OldBlob(Digest.of(data), len(data), lambda: io.BytesIO(data))


def rebuilt(new: bytes, *old: bytes) -> Recipe:
    """Match, then rebuild from the written form of the recipe; the bytes must come out."""
    blobs = [blob(data) for data in old]
    recipe, own = match(blob(new), ChunkIndex(blobs))
    fresh = b"".join(new[run.offset : run.offset + run.length] for run in own)
    parsed = Recipe.parse(recipe.as_bytes(), "test")
    assert parsed == recipe
    by_digest = {each.digest: each for each in blobs}
    stream = RecipeStream(parsed, io.BytesIO(fresh), lambda digest: by_digest[digest].open())
    assert io.BufferedReader(stream).read() == new
    assert recipe.new_bytes == len(fresh)
    return recipe


def test_chunks_are_the_stream_within_their_bounds():
    data = random.Random(1).randbytes(6 << 20) + bytes(1 << 20)
    found = [(chunk.start, bytes(chunk.data)) for chunk in chunks(io.BytesIO(data))]
    assert b"".join(piece for _, piece in found) == data
    assert all(len(piece) <= MAXIMUM for _, piece in found)
    assert all(len(piece) >= MINIMUM for _, piece in found[:-1])
    average = len(data) / len(found)
    assert 8 << 10 < average < 32 << 10


def test_the_same_bytes_are_cut_in_the_same_places_wherever_they_moved():
    data = random.Random(1).randbytes(4 << 20)
    moved = random.Random(2).randbytes(12_345) + data
    first = {bytes(chunk.data) for chunk in chunks(io.BytesIO(data))}
    second = {bytes(chunk.data) for chunk in chunks(io.BytesIO(moved))}
    assert len(first & second) >= len(first) - 3


def test_of_a_fine_tune_only_the_changed_initializers_travel():
    tensors = initializers(8 << 20)
    changed, count = fine_tuned(tensors, 0.05)
    recipe = rebuilt(b"".join(changed), b"".join(tensors))
    assert recipe.new_bytes <= count * 1.001
    assert len(recipe.as_bytes()) < count * 0.01


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old,
        lambda old: b"",
        lambda old: old[:-1],
        lambda old: old[1:],
        lambda old: b"x" + old,
        lambda old: old + b"x",
        lambda old: old[: len(old) // 2] + b"inserted" + old[len(old) // 2 :],
        lambda old: old[: len(old) // 2] + old[len(old) // 2 + 99 :],
        lambda old: old[1 << 20 :] + old[: 1 << 20],
        lambda old: old + old,
        lambda old: bytes(3 << 20),
        lambda old: random.Random(9).randbytes(1 << 20),
    ],
)
def test_every_kind_of_change_is_rebuilt(change):
    old = random.Random(3).randbytes(3 << 20)
    recipe = rebuilt(change(old), old)
    if change(old)[:-9] and recipe.bases:
        assert recipe.new_bytes < 200


def test_zeros_and_repeats_are_rebuilt():
    old = bytes(1 << 20) + b"abcdefgh" * 100_000 + bytes(1 << 20)
    rebuilt(bytes(2 << 20) + b"abcdefgh" * 50_000, old)
    rebuilt(b"\1" + old, old, bytes(5000))


def test_two_old_blobs_serve_one_new_one():
    first, second = random.Random(4).randbytes(1 << 20), random.Random(5).randbytes(1 << 20)
    recipe = rebuilt(second + b"new" + first, first, second)
    assert len(recipe.bases) == 2
    assert recipe.new_bytes == 3


def test_a_damaged_old_blob_is_told():
    broken = OldBlob(Digest.of(b"what it was"), 9, lambda: io.BytesIO(b"something"))
    with pytest.raises(VerificationError):
        ChunkIndex([broken])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 5),
    cuts=st.lists(
        st.tuples(st.integers(0, 400_000), st.integers(0, 90_000), st.binary(max_size=40)),
        max_size=6,
    ),
)
def test_whatever_was_moved_cut_and_put_in_is_rebuilt(seed, cuts):
    old = random.Random(seed).randbytes(400_000)
    rebuilt(b"".join(old[start : start + length] + more for start, length, more in cuts), old)


@pytest.mark.parametrize(
    "text",
    [
        "", "recipe", "recipe 1", "recipe 2 HEX 3\n", "recipe 1 HEX 3", "recipe 1 HEX 3\n",
        "recipe 1 HEX 3\ndata 0 2\n", "recipe 1 HEX 3\ndata 1 3\n", "recipe 1 HEX 3\ndata 0 03\n",
        "recipe 1 HEX 3\ndata 0 4\n", "recipe 1 HEX 3\ndata 0 3\ndata 0 0\n",
        "recipe 1 HEX 3\ncopy 0 3\n", "recipe 1 HEX 3\ncopy HEX -1 3\n", "recipe 1 HEX 3\nmv 0 3\n",
        "recipe 1 HEX 3\ndata 0 3\n\n", "recipe 1 HEX 3\ndata 0 2\ndata 1 1\n",
        "recipe 1 HEX 99999999999999999\ndata 0 3\n", "recipe 1 HEX 3\r\ndata 0 3\r\n",
        "recipe 1 HEX 3\ndata 0 ３\n",
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(text):
    with pytest.raises(VerificationError):
        Recipe.parse(text.replace("HEX", "ab" * 32).encode(), "test")
