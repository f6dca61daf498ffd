"""What differs between two renderings of a target, in words.

Objects are told apart by kind and name, items of lists by their `name`; figures that people look
for have words of their own (`replicas`), everything else is told by its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from packager.render.images import documents, is_chart_template
from packager.render.templating import is_json, is_unit, is_yaml
from packager.render.ways_out import Files, ways_out

_ABSENT = object()
_PROSE = ("README.md", "NOTES.txt")
# The end of a place → what people call it.
_WORDS = (
    (r"Deployment \S+: spec/replicas", "replicas"),
    (r"HorizontalPodAutoscaler \S+: spec/minReplicas", "replicas at least"),
    (r"HorizontalPodAutoscaler \S+: spec/maxReplicas", "replicas at most"),
    (r"Deployment \S+: .*limits/memory", "memory limit"),
    (r"Deployment \S+: .*requests/memory", "memory reserved"),
    (r"Deployment \S+: .*limits/cpu", "processors at most"),
    (r"Deployment \S+: .*requests/cpu", "processors reserved"),
    (r"(Deployment \S+|compose.yaml): .*\[?server\]?/image", "image"),
    (r"\S+\.container: Container/Image/0", "image"),
    (r"(Deployment \S+: .*PACKAGER_REGION\]?/value|compose.yaml: .*PACKAGER_REGION)", "region"),
    (r"compose.yaml: services/server/.*limits/memory", "memory limit"),
    (r"values.yaml: (replicas|autoscaling/\w+|resources/.*)", ""),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` and `after` are texts, None where there was or is nothing."""

    what: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.what}: {self.after} (new)"
        if self.after is None:
            return f"{self.what}: {self.before} (gone)"
        return f"{self.what} {self.before} → {self.after}"

    def as_dict(self) -> dict[str, str | None]:
        return {"what": self.what, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs, and which ways out were opened or closed."""

    changes: tuple[Change, ...]
    opened: tuple[str, ...]
    closed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changes or self.opened or self.closed)


def compare(before: Files, after: Files) -> Comparison:
    """Compare the files of one target in two renderings. Raises InputError for what is no YAML."""
    one, two = _values(before), _values(after)
    changes = {
        Change(_word(place), _shown(one.get(place)), _shown(two.get(place))): None
        for place in [*one, *(place for place in two if place not in one)]
        if one.get(place, _ABSENT) != two.get(place, _ABSENT)
    }
    was, now = ways_out(before), ways_out(after)
    return Comparison(tuple(changes), tuple(sorted(now - was)), tuple(sorted(was - now)))


def _values(files: Files) -> dict[str, Any]:
    """Place → value, over everything that a machine reads."""
    found: dict[str, Any] = {}
    for name, data in files.items():
        if name.endswith(_PROSE):
            continue
        if (is_yaml(name) or is_json(name)) and not is_chart_template(name):
            for document in documents(name, data):
                found.update(_flat(document, f"{_title(name, document)}: "))
        elif is_unit(name):
            found.update(_unit(name, data.decode()))
        else:
            found.update(_lines(name, data.decode()))
    return found


def _title(name: str, document: Any) -> str:
    match document:
        case {"kind": str(kind), "metadata": {"name": str(called)}}:
            return f"{kind} {called}"
        case _:
            return name


def _flat(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    join = "" if place.endswith(" ") else "/"
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, f"{place}{join}{key}")
    elif isinstance(node, list) and node:
        for number, value in enumerate(node):
            named = value.get("name") if isinstance(value, dict) else None
            yield from _flat(value, f"{place}{join}[{named if named else number}]")
    else:
        yield place, node


def _unit(name: str, text: str) -> Iterator[tuple[str, Any]]:
    section, seen = "", dict[str, int]()
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            place = f"{name}: {section}/{key}"
            seen[place] = seen.get(place, -1) + 1
            yield f"{place}/{seen[place]}", value


def _lines(name: str, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        yield f"{name}: line {number}", line


def _word(place: str) -> str:
    for pattern, word in _WORDS:
        if re.fullmatch(pattern, place):
            return word or place.partition(": ")[2].replace("/", " ")
    return place


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 20:
        return f"{value / (1 << 20):g} MiB" if value % (1 << 20) == 0 else str(value)
    return str(value)
