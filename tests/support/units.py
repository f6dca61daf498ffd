"""Unit files as values: section → key → values, in order. Enough of systemd.syntax(7) for ours."""

from __future__ import annotations

Unit = dict[str, dict[str, list[str]]]


def parse_unit(data: bytes) -> Unit:
    """Comments left out; a key that stands several times has several values."""
    unit: Unit = {}
    section = ""
    for line in data.decode().splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            unit.setdefault(section, {})
            continue
        key, equals, value = line.partition("=")
        assert equals, f"not a key: {line!r}"
        unit[section].setdefault(key, []).append(value)
    return unit
