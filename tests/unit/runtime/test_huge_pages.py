"""Memory that is put together on huge pages keeps what is in it, and takes no more room."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MIB = 1 << 20
# In a process of its own, where nothing else comes and goes.
PROGRAM = """
import json, mmap
from array import array
from packager.runtime.huge_pages import use_huge_pages

def kibibytes(what):
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(what))

size, block = 64 << 20, 2 << 20
huge = kibibytes("AnonHugePages")
filled, sparse = (mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2))
numbers = array("I", range(size // 4)).tobytes()
filled[:] = numbers
for place in range(0, size, block):
    sparse[place] = 1
resident = kibibytes("Rss")
count = use_huge_pages()
print(json.dumps({
    "count": count,
    "huge": kibibytes("AnonHugePages") - huge,
    "more": kibibytes("Rss") - resident,
    "same": filled[:] == numbers and all(sparse[place] == 1 for place in range(0, size, block)),
}))
"""


def test_full_blocks_are_put_together_and_hold_what_they_held() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    if not found["count"]:
        pytest.skip("this kernel puts no pages together")
    assert found["same"]
    # Not all of them on a machine that is short of memory in one piece.
    assert found["huge"] >= 2 * MIB >> 10
    # Where most of a block is not in use, it stays as it was: 64 MiB more would be seen.
    assert found["more"] < 16 * MIB >> 10
