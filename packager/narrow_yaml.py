"""YAML, kept narrow on purpose (StrictYAML's lesson).

One document, no anchors, no tags, no merge keys. Plain scalars follow YAML 1.2's core schema: only
`true` and `false` are booleans, so that the country code `NO` stays Norway.

libyaml reads what is plainly harmless ten times as fast; whatever it refuses, and whatever could
hold an alias or be nested deeply, is read again in Python, where those have their own words.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema for plain scalars, and nothing that could surprise or explode."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not used here", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


_RESOLVED = (
    ("bool", r"(true|false)$", "tf"),
    ("null", r"(null|~|)$", ["n", "~", ""]),
    ("int", r"[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?$", "-+0123456789"),
)


def _narrowed(loader: Any) -> Any:
    loader.yaml_implicit_resolvers = {}
    for kind, pattern, first in _RESOLVED:
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), list(first))
    return loader


_narrowed(_Loader)
_FAST = _narrowed(type("_Fast", (yaml.CSafeLoader,), {})) if yaml.__with_libyaml__ else None
_SHALLOW = 500  # levels of nesting are at most the columns of a line, and its opening brackets


def _is_plain(text: str) -> bool:
    brackets = text.count("[") + text.count("{")
    return "*" not in text and brackets < _SHALLOW and max(map(len, text.split("\n"))) < _SHALLOW


def compose(text: str) -> yaml.Node | None:
    """The tree of the one document in `text`; raises yaml.YAMLError for anything else."""
    if _FAST and _is_plain(text):
        with contextlib.suppress(yaml.YAMLError):
            return _composed(_FAST, text)
    return _composed(_Loader, text)


def _composed(kind: Any, text: str) -> yaml.Node | None:
    loader = kind(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()
