"""Modules that stand in for others while a library is loaded, so that its start does not wait for
what it seldom asks for: in an image every module that is loaded has to be compiled.

`with seldom("pickle"): import numpy` gives numpy a `pickle` that is loaded when a name of it is
asked for, now or years later; whatever is asked, the answer is the one of the real module. A module
that is there already is used as it is. When the block ends, the names mean what they always mean
for whoever imports them next.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_Spec = type(sys.__spec__)
_Names = Mapping[str, Any]


@contextmanager
def stand_ins(seldom: Mapping[str, _Names], unused: tuple[str, ...] = ()) -> Iterator[None]:
    """In the block, the modules of `seldom` are loaded when a name beside those given is asked for;
    of those of `unused` every name is an empty class."""
    wanted = {name: names for name, names in seldom.items() if name not in sys.modules}
    empty = [name for name in unused if name not in sys.modules]
    finder = _Finder(wanted, empty)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.give_way()


def seldom(*names: str) -> Any:
    """`stand_ins` that answer nothing by themselves."""
    return stand_ins({name: {} for name in names})


class _Finder:
    """Finds the stand-ins, before Python finds the modules."""

    def __init__(self, seldom: Mapping[str, _Names], unused: list[str]) -> None:
        self._seldom = dict(seldom)
        self._unused = unused
        self._made: dict[str, ModuleType] = {}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        known = name in self._seldom or name in self._unused
        return _Spec(name, self) if known else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> ModuleType:
        name = spec.name
        module = self._made[name] = ModuleType(name)
        if name in self._seldom:
            vars(module).update(self._seldom[name], __getattr__=_late(module, self._let_through))
        else:
            vars(module).update(__all__=(), __getattr__=_class_for)
        return module

    def exec_module(self, _: ModuleType) -> None:
        """There is nothing in it."""

    def _let_through(self, name: str) -> None:
        """From now on `name` is the real one: it is asked for more than was foreseen."""
        self._seldom.pop(name, None)
        _forget(name, self._made[name])

    def give_way(self) -> None:
        for name, module in self._made.items():
            _forget(name, module)


def _forget(name: str, module: ModuleType) -> None:
    if sys.modules.get(name) is module:
        del sys.modules[name]
    parent, _, child = name.rpartition(".")
    package = sys.modules.get(parent)
    if package is not None and getattr(package, child, None) is module:
        delattr(package, child)


def _late(stand_in: ModuleType, let_through: Callable[[str], None]) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = stand_in.__name__
        let_through(module)
        __import__(module)
        value = vars(stand_in)[name] = getattr(sys.modules[module], name)
        return value

    return get


def _class_for(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return object
