"""Values to plain JSON and back, by the types that their classes declare.

For the cache of answers: unlike pickle it runs nothing that it reads, and a document that does not
fit the classes of today is an error, hence a miss.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """The value as dictionaries, lists, texts and numbers."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(own) for key, own in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(to_plain(own) for own in value)
    if isinstance(value, list | tuple):
        return [to_plain(own) for own in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: type[T], plain: Any) -> T:
    """The value of class `kind` that `to_plain` wrote. Raises ValueError when it does not fit."""
    made: T = _read(kind, plain)
    return made


def _read(kind: Any, plain: Any) -> Any:
    if kind is Any or kind is object:
        return plain
    if is_dataclass(kind):
        return _instance(kind, plain)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _alternative(arguments, plain)
    if origin is tuple:
        return _tuple(arguments, _list(plain))
    if origin is frozenset:
        return frozenset(_read(arguments[0], own) for own in _list(plain))
    if origin is not None and issubclass(origin, Mapping):
        return {_read(arguments[0], key): _read(arguments[1], own) for key, own in plain.items()}
    return _simple(kind, plain)


def _simple(kind: Any, plain: Any) -> Any:
    if kind is Path or issubclass(kind, Enum):
        return kind(plain)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if not isinstance(plain, kind) or isinstance(plain, bool) is not (kind is bool):
        raise ValueError(f"{plain!r} is no {kind.__name__}")
    return plain


def _instance(kind: Any, plain: Any) -> Any:
    hints = _hints(kind)
    if not isinstance(plain, dict) or set(plain) != set(hints):
        raise ValueError(f"other fields than those of {kind.__name__}")
    return kind(**{name: _read(hint, plain[name]) for name, hint in hints.items()})


def _alternative(kinds: tuple[Any, ...], plain: Any) -> Any:
    if plain is None and type(None) in kinds:
        return None
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _read(kind, plain)
        except (ValueError, TypeError):
            continue
    raise ValueError(f"{plain!r} fits none of the alternatives")


def _tuple(kinds: tuple[Any, ...], plain: list[Any]) -> tuple[Any, ...]:
    if kinds[-1:] == (Ellipsis,):
        return tuple(_read(kinds[0], own) for own in plain)
    if len(kinds) != len(plain):
        raise ValueError("a tuple of another length")
    return tuple(_read(kind, own) for kind, own in zip(kinds, plain, strict=True))


def _list(plain: Any) -> list[Any]:
    if not isinstance(plain, list):
        raise ValueError("no list")
    return plain


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
