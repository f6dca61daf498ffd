"""After the start: what was loaded stays, and what loading took goes back to the machine."""

from __future__ import annotations

import ctypes
import gc


def settle() -> None:
    """What was made while loading stays: the garbage collector need not look at it again.

    Python starts with it off (`__main__`); it is on from here.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    give_memory_back()


def give_memory_back() -> None:
    """What was taken and freed goes back to the machine (glibc; others do it alone)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
