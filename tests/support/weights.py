"""Weights for tests of deltas: initializers of many sizes, some of them changed by a fine-tune."""

from __future__ import annotations

import random

SIZES = (64, 4 << 10, 64 << 10, 256 << 10, 512 << 10)


def initializers(total: int, seed: int = 1) -> list[bytes]:
    """Random initializers of `total` bytes or a little more."""
    chance = random.Random(seed)
    made: list[bytes] = []
    while sum(map(len, made)) < total:
        made.append(chance.randbytes(chance.choice(SIZES)))
    return made


def fine_tuned(tensors: list[bytes], share: float, seed: int = 2) -> tuple[list[bytes], int]:
    """The same with other bytes in at least `share` of them, and how many bytes were changed."""
    chance = random.Random(seed)
    changed = list(tensors)
    done = 0
    for number in chance.sample(range(len(tensors)), len(tensors)):
        if done >= share * sum(map(len, tensors)):
            break
        changed[number] = chance.randbytes(len(tensors[number]))
        done += len(tensors[number])
    return changed, done
