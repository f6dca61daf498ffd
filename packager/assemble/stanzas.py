"""Reads deb822: the format of Debian's indexes, control files and apt's `*.sources`.

A stanza is a run of `Name: value` lines; a line that begins with white space continues the value
above it; an empty line ends the stanza (Debian Policy 5.1, deb822(5)).
"""

from __future__ import annotations

from collections.abc import Iterator


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Every stanza as lower-case field name → value, lines of a long value joined by newlines.

    Comment lines and lines without a colon are passed over, as apt does.
    """
    for block in text.replace("\r\n", "\n").split("\n\n"):
        if fields := _fields(block):
            yield fields


def _fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.split("\n"):
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if name:
                fields[name] = f"{fields[name]}\n{line.strip()}"
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name:
            fields[name] = value.strip()
    return fields
