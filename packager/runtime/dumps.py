"""No picture of the memory is written when the process dies: it holds what people asked and heard.

The limit stops dumps into files. A kernel that pipes them to a program does not look at it, but it
dumps nobody who says not to be dumped (core(5), prctl(2)); that also keeps other processes of the
same user from reading the memory. It ends with the next `exec`, so every program says it itself.
"""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """For this process, from now on."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
