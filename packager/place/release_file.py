"""The placement as the `targets:` of a release file; everything else in the file stays as it was.

A release has one class of data, so that demands of several classes give several files. What is
written is text with the user's own lines and comments in it, only the blocks that the plan decides
are new.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from packager.domain.placement import Placement
from packager.domain.target import DataClass, TargetName

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
