"""Memory that is put together on huge pages keeps what is in it, and takes no more room."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from packager.runtime.huge_pages import use_huge_pages

SIZE = 64 << 20
BLOCK = 2 << 20


def _kibibytes(what: str) -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1])
    return 0


def test_full_blocks_are_put_together_and_hold_what_they_held() -> None:
    before = _kibibytes("AnonHugePages")
    filled = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    sparse = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    numbers = np.frombuffer(filled, np.uint32)
    numbers[:] = np.arange(len(numbers), dtype=np.uint32)
    for block in range(0, SIZE, BLOCK):
        sparse[block] = 1
    resident = _kibibytes("Rss")
    count = use_huge_pages()
    if not count:
        pytest.skip("this kernel puts no pages together")
    assert _kibibytes("AnonHugePages") - before >= (SIZE - 2 * BLOCK) >> 10
    # Where most of a block is not in use, it stays as it was.
    assert _kibibytes("Rss") - resident < 4 << 10
    assert np.array_equal(numbers, np.arange(len(numbers), dtype=np.uint32))
    assert [sparse[block] for block in range(0, SIZE, BLOCK)] == [1] * (SIZE // BLOCK)
