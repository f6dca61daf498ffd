"""A mapping that somebody wrote in YAML, asked for its values by name and type.

A typed accessor either returns the value or notes a finding and returns a harmless placeholder;
`finish` raises everything that was noted, unknown and duplicate keys included, so no placeholder
ever leaves the reader.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import yaml

from packager.errors import Finding, InputError

MAX_DEPTH = 32
_MISSING = object()
_Choice = TypeVar("_Choice", bound=StrEnum)
_Parsed = TypeVar("_Parsed")


@dataclass(slots=True)
class Notes:
    """The findings of one file, in the order of their lines."""

    found: list[tuple[int, Finding]] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """A mapping of a document. Keys that were never asked for are unknown."""

    file: Path
    path: str
    line: int
    _nodes: dict[str, yaml.Node]
    _notes: Notes
    _asked: set[str] = field(default_factory=set)
    _children: list[Section] = field(default_factory=list)

    def where(self, key: str = "") -> str:
        """`release.yaml:12: targets[0].jurisdiction`, for messages."""
        node = self._nodes.get(key)
        line = node.start_mark.line + 1 if node else self.line
        path = _join(self.path, key)
        return f"{self.file}:{line}: {path}" if path else f"{self.file}:{line}"

    def note(self, key: str, what: str, **details: str | None) -> None:
        """Note a finding at `key`; reading goes on, `finish` raises it."""
        node = self._nodes.get(key)
        line = node.start_mark.line + 1 if node else self.line
        self._notes.found.append((line, Finding(what, self.where(key), **details)))

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def is_mapping(self, key: str) -> bool:
        """Whether `key` holds a mapping; asking for it does not count as knowing it."""
        return isinstance(self._nodes.get(key), yaml.MappingNode)

    def keys(self) -> tuple[str, ...]:
        """All keys as written; asking for them counts as knowing them."""
        self._asked.update(self._nodes)
        return tuple(self._nodes)

    def text(self, key: str, default: str | object = _MISSING) -> str:
        """A string. Plain numbers count as strings too, since `version: 1.0` means "1.0"."""
        node = self._scalar(key, default, "a string")
        if node is None:
            return default if isinstance(default, str) else ""
        if node.tag.endswith((":bool", ":null")):
            return self._wrong(key, "a string (put it in quotes)", node, "")
        return str(node.value)

    def optional_text(self, key: str) -> str | None:
        """A string, or None when the key is absent."""
        self._asked.add(key)
        return self.text(key) if key in self._nodes else None

    def number(self, key: str, default: float | object = _MISSING) -> float:
        """A whole or decimal number."""
        node = self._scalar(key, default, "a number")
        if node is None:
            return default if isinstance(default, (int, float)) else 0.0
        if not node.tag.endswith((":int", ":float")):
            return self._wrong(key, "a number", node, 0.0)
        return float(node.value)

    def optional_number(self, key: str) -> float | None:
        """A number, or None when the key is absent."""
        self._asked.add(key)
        return self.number(key) if key in self._nodes else None

    def whole(self, key: str, default: int | object = _MISSING) -> int:
        """A whole number."""
        node = self._scalar(key, default, "a whole number")
        if node is None:
            return default if isinstance(default, int) else 0
        if not node.tag.endswith(":int"):
            return self._wrong(key, "a whole number", node, 0)
        return int(node.value)

    def flag(self, key: str, default: bool | object = _MISSING) -> bool:
        """`true` or `false`; `yes`, `NO` and the like are not booleans here."""
        node = self._scalar(key, default, "true or false")
        if node is None:
            return default if isinstance(default, bool) else False
        if not node.tag.endswith(":bool"):
            return self._wrong(key, "true or false", node, False)
        return bool(node.value == "true")

    def choice(
        self, key: str, kind: type[_Choice], default: _Choice | object = _MISSING
    ) -> _Choice:
        """One word of an enumeration; the nearest one is proposed for a wrong one."""
        first = next(iter(kind))
        if key not in self._nodes and isinstance(default, kind):
            self._asked.add(key)
            return default
        written = self.text(key)
        return self._chosen(key, kind, written) or first

    def choices(self, key: str, kind: type[_Choice]) -> tuple[_Choice, ...]:
        """A list of words of an enumeration."""
        found = (self._chosen(key, kind, written) for written in self.texts(key))
        return tuple(word for word in found if word is not None)

    def parsed(
        self, key: str, parse: Callable[[str], _Parsed], expected: str, placeholder: _Parsed
    ) -> _Parsed:
        """A string that `parse` understands; its ValueError becomes a finding."""
        written = self.text(key)
        try:
            return parse(written) if key in self._nodes else placeholder
        except ValueError:
            self.note(key, "cannot be read", expected=expected, got=repr(written))
            return placeholder

    def texts(self, key: str, default: tuple[str, ...] | object = ()) -> tuple[str, ...]:
        """A list of strings; pass `default=...` (Ellipsis) to demand the key."""
        node = self._node(key, default if default is not ... else _MISSING, "a list of strings")
        if node is None:
            return default if isinstance(default, tuple) else ()
        if not isinstance(node, yaml.SequenceNode):
            return self._wrong(key, "a list of strings", node, ())
        found = []
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or item.tag.endswith((":bool", ":null")):
                self._wrong(key, "a list of strings", item, "")
            else:
                found.append(str(item.value))
        return tuple(found)

    def section(self, key: str, *, required: bool = False) -> Section:
        """A mapping; an empty one when the key is absent and not required."""
        node = self._node(key, _MISSING if required else None, "a mapping")
        return self._open(node, _join(self.path, key), key)

    def sections(self, key: str, *, required: bool = False) -> tuple[Section, ...]:
        """A list of mappings."""
        node = self._node(key, _MISSING if required else None, "a list of mappings")
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            return self._wrong(key, "a list of mappings", node, ())
        path = _join(self.path, key)
        return tuple(
            self._open(item, f"{path}[{position}]", key) for position, item in enumerate(node.value)
        )

    def mapping(self, key: str) -> dict[str, str]:
        """A mapping of strings to strings."""
        section = self.section(key)
        return {name: section.text(name) for name in section.keys()}  # noqa: SIM118

    def finish(self) -> None:
        """Raise InputError with everything that was noted in this document, by line."""
        missed, self._notes.found = self._notes.found, []
        for section in self._all():
            for key in section._nodes:
                if key not in section._asked:
                    section.note(
                        key, f"unknown key {key!r}", next_step=nearest(key, section._asked)
                    )
        # Unknown keys come first on their line: a misspelled key explains the missing one.
        self._notes.found.extend(missed)
        if self._notes.found:
            ordered = sorted(self._notes.found, key=lambda noted: noted[0])
            raise InputError.of([finding for _, finding in ordered])

    def _all(self) -> Iterator[Section]:
        yield self
        for child in self._children:
            yield from child._all()

    def _node(self, key: str, default: object, expected: str) -> yaml.Node | None:
        self._asked.add(key)
        node = self._nodes.get(key)
        if node is None and default is _MISSING:
            self.note(key, f"the key {key!r} is missing", expected=expected)
        return node

    def _scalar(self, key: str, default: object, expected: str) -> yaml.ScalarNode | None:
        node = self._node(key, default, expected)
        if node is not None and not isinstance(node, yaml.ScalarNode):
            return self._wrong(key, expected, node, None)
        return node

    def _chosen(self, key: str, kind: type[_Choice], written: str) -> _Choice | None:
        words = [word.value for word in kind]
        if written in words:
            return kind(written)
        if key in self._nodes:
            self.note(
                key,
                f"{written!r} is not one of the known words",
                expected=" | ".join(words),
                got=repr(written),
                next_step=nearest(written, words),
            )
        return None

    def _wrong(self, key: str, expected: str, node: yaml.Node, value: _Parsed) -> _Parsed:
        self.note(key, "wrong type", expected=expected, got=describe(node))
        return value

    def _open(self, node: yaml.Node | None, path: str, key: str) -> Section:
        if isinstance(node, yaml.MappingNode):
            child = section_of(self.file, path, node, self._notes)
        else:
            if node is not None:
                self._wrong(key, "a mapping", node, None)
            child = Section(self.file, path, self.line, {}, self._notes)
        self._children.append(child)
        return child


def section_of(file: Path, path: str, node: yaml.MappingNode, notes: Notes) -> Section:
    section = Section(file, path, node.start_mark.line + 1, {}, notes)
    if path.count(".") + path.count("[") > MAX_DEPTH:
        section.note("", "the YAML is nested too deeply")
        return section
    for key_node, value in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        if key in section._nodes:
            first = section._nodes[key].start_mark.line + 1
            notes.found.append(
                (
                    key_node.start_mark.line + 1,
                    Finding(
                        f"the key {key!r} is given twice",
                        f"{file}:{key_node.start_mark.line + 1}: {_join(path, key)}",
                        got=f"given before on line {first}",
                        next_step="keep one of the two",
                    ),
                )
            )
        else:
            section._nodes[key] = value
    return section


def matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    """For `Section.parsed`: text that is `pattern` from end to end, as it is."""

    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return parse


def nearest(word: str, known: Iterator[str] | set[str] | list[str] | tuple[str, ...]) -> str | None:
    """A next step that names the words nearest to a misspelled one, or all when they are few."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    if words and len(words) <= 20:
        return "known here: " + ", ".join(words)
    return None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kind = node.tag.rpartition(":")[2]
    named = {"bool": "a boolean", "null": "nothing", "int": "a number", "float": "a number"}
    return f"{named.get(kind, 'a string')}: {str(node.value)[:60]!r}"
