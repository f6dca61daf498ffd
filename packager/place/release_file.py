"""The placement as the `targets:` of a release file; everything else in the file stays as it was.

A release has one class of data, so that demands of several classes give several files. What is
written is text with the user's own lines and comments in it, only the blocks that the plan decides
are new.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from packager.domain.placement import Placement
from packager.domain.target import DataClass, TargetName
from packager.narrow_yaml import compose

_NEXT_KEY = re.compile(r"^[^\s#-]", re.MULTILINE)


def data_classes(placement: Placement) -> tuple[DataClass, ...]:
    """The classes of data that the placement serves, in the order of their names."""
    return tuple(sorted({flow.demand.data for flow in placement.flows}, key=lambda one: one.value))


def planned_release(
    text: str, placement: Placement, rooms: Mapping[str, str], data: DataClass
) -> str:
    """`text`, a release file, with `targets:`, `sites:` and `data:` of the placement."""
    targets = _targets(placement, data)
    used = {
        region.partition("/")[2]
        for regions in targets.values()
        for region in regions
        if region.startswith("site/")
    }
    sites = {name: country for name, country in sorted(rooms.items()) if name in used}
    text = _replaced(text, "data", f"data: {{class: {data.value}}}\n")
    lines = ["targets:   # decided by packager plan\n"]
    for name, regions in targets.items():
        lines.append(
            f"  - {{jurisdiction: {_quoted(name.jurisdiction)}, hardware: {name.hardware}, "
            f"platform: {name.platform.value}, regions: [{', '.join(regions)}]}}\n"
        )
    text = _replaced(text, "targets", "".join(lines))
    if sites:
        listed = ", ".join(f"{name}: {_quoted(country)}" for name, country in sites.items())
        text = _replaced(text, "sites", f"sites: {{{listed}}}\n")
    return text


def relocated(text: str, old: Path, new: Path) -> str:
    """`text`, a release file that stood in the folder `old`, with the relative paths that it needs
    to mean the same in `new`: of the model, its samples, and the keys that open it."""
    start, target = old.resolve(), new.resolve()
    for node in sorted(_paths(text), key=lambda one: one.start_mark.index, reverse=True):
        if Path(node.value).is_absolute():
            continue
        moved = os.path.relpath(start / node.value, target)
        # JSON's quotes are YAML's too; names that need none have none.
        told = moved if re.fullmatch(r"[A-Za-z./_][\w./-]*", moved) else json.dumps(moved)
        text = text[: node.start_mark.index] + told + text[node.end_mark.index :]
    return text


def _paths(text: str) -> Iterator[yaml.ScalarNode]:
    """The values in a release file that are relative to it."""
    tree = compose(text)
    for key, value in tree.value if isinstance(tree, yaml.MappingNode) else ():
        if key.value == "model":
            yield from _named(value, "path", "samples")
        if key.value == "quality":
            yield from _named(value, "plugin", "labels")
        if key.value == "serving":
            yield from _named(value, "tokenizer")
        if key.value == "models" and isinstance(value, yaml.SequenceNode):
            for entry in value.value:
                yield from _of_model(entry)
        if key.value == "encryption" and isinstance(value, yaml.MappingNode):
            for _, listed in value.value:
                yield from listed.value if isinstance(listed, yaml.SequenceNode) else ()


def _of_model(entry: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """The same of an entry of `models:`."""
    yield from _named(entry, "path", "samples")
    for key, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
        if key.value == "quality":
            yield from _named(value, "plugin", "labels")
        if key.value == "serving":
            yield from _named(value, "tokenizer")


def _named(section: yaml.Node, *keys: str) -> Iterator[yaml.ScalarNode]:
    for name, node in section.value if isinstance(section, yaml.MappingNode) else ():
        if name.value in keys and isinstance(node, yaml.ScalarNode):
            yield node


def _targets(placement: Placement, data: DataClass) -> dict[TargetName, list[str]]:
    found: dict[TargetName, set[str]] = {}
    for flow in placement.flows:
        if flow.demand.data is data:
            offer = flow.pool.offer
            name = TargetName(flow.demand.jurisdiction, offer.hardware, offer.platform)
            found.setdefault(name, set()).add(str(flow.pool.site.region))
    return {name: sorted(found[name]) for name in sorted(found)}


def _quoted(word: str) -> str:
    """`NO` and `no` are Norway to us and false to other readers of YAML; quotes serve both."""
    return f'"{word}"' if word.lower() in ("no", "on", "off", "yes", "y", "n") else word


def _replaced(text: str, key: str, block: str) -> str:
    """`text` with its top-level `key:` block replaced, or appended where there is none."""
    begin = re.search(rf"^{key}:", text, re.MULTILINE)
    if begin is None:
        return text.rstrip("\n") + "\n" + block
    following = _NEXT_KEY.search(text, begin.end())
    end = following.start() if following else len(text)
    # Comments and blank lines right before the next key belong to that key.
    kept = re.search(r"((?:^[ \t]*(?:#.*)?\n)*)\Z", text[begin.end() : end], re.MULTILINE)
    tail = kept.group(1) if kept and following else ""
    return text[: begin.start()] + block + tail + text[end:]
