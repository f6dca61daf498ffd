"""asyncio without what this server seldom or never asks it for: TLS where none is spoken, child
processes, streams, locks, its log. OpenSSL takes a tenth of a small server's memory, and the rest a
tenth of a start that has to compile everything.

asyncio takes a Python without `ssl` as it is ("try: import ssl"), so it is shown one. The other
modules are stood in for while asyncio is loaded: what it names in base classes and default values
only is empty, what it asks when something goes wrong is loaded then. After that all are as ever for
whoever imports them.
"""

from __future__ import annotations

import _heapq
import _queue
import sys
from typing import Any

from .stand_ins import stand_ins

_UNUSED = (
    *("subprocess", "asyncio.subprocess", "asyncio.base_subprocess"),
    *("asyncio.streams", "asyncio.sslproto", "asyncio.taskgroups"),
)
_COROUTINE = 0x80  # inspect.CO_COROUTINE
# Names of `asyncio` that stand in the modules that were left out.
_LATE = (
    *("asyncio.locks", "asyncio.queues"),
    *("asyncio.streams", "asyncio.subprocess", "asyncio.taskgroups"),
)


class _Logger:
    """Stands for a logger until something is told to it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, *message: Any, **options: Any) -> None:
        """Nobody asks for this, unless somebody has loaded `logging`."""
        if "logging" in sys.modules:
            sys.modules["logging"].getLogger(self._name).debug(*message, **options)

    def __getattr__(self, name: str) -> Any:
        from logging import getLogger

        return getattr(getLogger(self._name), name)


def _extract_stack(*arguments: Any, **options: Any) -> Any:
    from traceback import extract_stack

    return extract_stack(*arguments, **options)


def _is_coroutine_function(function: Any) -> bool:
    """Of what is told to run at a signal."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return bool(code.co_flags & _COROUTINE)
    from inspect import iscoroutinefunction

    return iscoroutinefunction(function)


# With what asyncio wants of them at once. Of `heapq` and `queue` that is written in C.
_SELDOM: dict[str, dict[str, Any]] = {
    "asyncio.locks": {"__all__": ()},
    "asyncio.queues": {"__all__": ()},
    "asyncio.staggered": {},
    "heapq": {name: getattr(_heapq, name) for name in ("heapify", "heappop", "heappush")},
    "linecache": {},
    "queue": {"Empty": _queue.Empty, "SimpleQueue": _queue.SimpleQueue},
    "inspect": {"iscoroutinefunction": _is_coroutine_function},
    "logging": {"getLogger": _Logger, "DEBUG": 10},
    "traceback": {"extract_stack": _extract_stack},
}


def load_lean_asyncio() -> None:
    """Load asyncio without TLS, child processes and streams, unless asyncio or what is left out is
    there already."""
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        with stand_ins(_SELDOM, _UNUSED):
            import asyncio
            import concurrent.futures.thread  # noqa: F401

            vars(asyncio)["__getattr__"] = _late
    except Exception:
        # Another asyncio than we know: it is loaded with everything when it is asked for.
        for name in [name for name in sys.modules if name.partition(".")[0] == "asyncio"]:
            del sys.modules[name]
    finally:
        del sys.modules["ssl"]


def _late(name: str) -> Any:
    """A name of asyncio whose module was left out, from that module."""
    if not name.startswith("_"):
        for home in _LATE:
            __import__(home)
            module = sys.modules[home]
            if name == home.partition(".")[2]:
                return module
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'asyncio' has no attribute {name!r}")
