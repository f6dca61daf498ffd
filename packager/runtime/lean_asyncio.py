"""asyncio without what this server seldom or never asks it for: TLS where none is spoken, child
processes, streams, its log. OpenSSL takes a tenth of a small server's memory, and the rest a tenth
of a start that has to compile everything.

asyncio takes a Python without `ssl` as it is ("try: import ssl"), so it is shown one. The other
modules are stood in for while asyncio is loaded: what it names in base classes and default values
only is empty, what it asks when something goes wrong is loaded then. After that all are as ever for
whoever imports them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_UNUSED = (
    *("subprocess", "asyncio.subprocess", "asyncio.base_subprocess"),
    *("asyncio.streams", "asyncio.sslproto", "asyncio.taskgroups"),
)
# Names of `asyncio` that stand in the modules that were left out.
_LATE = ("asyncio.streams", "asyncio.subprocess", "asyncio.taskgroups")
_Spec = type(sys.__spec__)


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


# With what asyncio wants of them at once.
_SELDOM: dict[str, dict[str, Any]] = {
    "logging": {"getLogger": _Logger, "DEBUG": 10},
    "traceback": {"extract_stack": _extract_stack},
}


def load_lean_asyncio() -> None:
    """Load asyncio without TLS, child processes and streams, unless asyncio or what is left out is
    there already."""
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    finder = _StandIns([name for name in (*_UNUSED, *_SELDOM) if name not in sys.modules])
    sys.modules["ssl"] = None  # type: ignore[assignment]
    sys.meta_path.insert(0, finder)
    try:
        import asyncio

        vars(asyncio)["__getattr__"] = _late
    except Exception:
        # Another asyncio than we know: it is loaded with everything when it is asked for.
        for name in [name for name in sys.modules if name.partition(".")[0] == "asyncio"]:
            del sys.modules[name]
    finally:
        sys.meta_path.remove(finder)
        del sys.modules["ssl"]
        finder.give_way()


class _StandIns:
    """Finds the modules of `names` as others: of the unused ones every name is an empty class, the
    seldom ones are loaded when a name of theirs is asked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._made: dict[str, ModuleType] = {}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        return _Spec(name, self) if name in self._names else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> ModuleType:
        module = self._made[spec.name] = ModuleType(spec.name)
        if spec.name in _SELDOM:
            vars(module).update(_SELDOM[spec.name], __getattr__=_Seldom(module))
        else:
            vars(module).update(__all__=(), __getattr__=_class_for)
        return module

    def exec_module(self, _: ModuleType) -> None:
        """There is nothing in it."""

    def give_way(self) -> None:
        """From now on the names mean what they always mean."""
        for name, module in self._made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            parent, _, child = name.rpartition(".")
            package = sys.modules.get(parent)
            if package is not None and getattr(package, child, None) is module:
                delattr(package, child)


class _Seldom:
    """The names of a module that is loaded with the first one that is asked for."""

    def __init__(self, stand_in: ModuleType) -> None:
        self._stand_in = stand_in

    def __call__(self, name: str) -> Any:
        module = self._stand_in.__name__
        if name.startswith("__") or sys.modules.get(module) is self._stand_in:
            raise AttributeError(name)
        __import__(module)
        return getattr(sys.modules[module], name)


def _class_for(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return object


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
