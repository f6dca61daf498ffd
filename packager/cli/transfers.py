"""`check --matrix` on a terminal: a grid of all pairs, and the law behind each refusal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from packager.cli.console import table

MARKS = {
    "inside": "●",
    "lawful abroad": "+",
    "unrestricted": "○",
    "with a mechanism": "m",
    "refused by house rule": "h",
    "refused": "–",
}
LEGEND = (
    "rows: whose data · columns: where inference happens\n"
    "● inside · + lawful abroad, with duties · ○ abroad, no rule speaks of it · – refused\n"
    "m refused, unless the release declares a transfer mechanism that the profile knows\n"
    "h refused by a house rule only: no law in the profile stands against it\n"
    "One row with its law: --matrix -j ID. No legal advice."
)


def grid(pairs: Sequence[Any]) -> str:
    """One line an origin; the names of the columns are written downwards, to stay narrow."""
    columns = sorted({pair.destination for pair in pairs})
    marks = {(one.origin, one.destination): MARKS[one.verdict.value] for one in pairs}
    origins = sorted({pair.origin for pair in pairs})
    width = max(len(name) for name in origins)
    depth = max(len(name) for name in columns)
    head = [
        " " * width + "  " + " ".join(name.rjust(depth)[line] for name in columns)
        for line in range(depth)
    ]
    rows = [
        f"{origin:<{width}}  " + " ".join(marks[origin, column] for column in columns)
        for origin in origins
    ]
    return "\n".join([*(line.rstrip() for line in head), *rows])


def explained(pairs: Sequence[Any]) -> str:
    """One line a destination with the legal path or the refusal."""
    rows = [[one.origin, one.destination, one.verdict.value, one.why] for one in pairs]
    return table(["data of", "inference in", "verdict", "why"], rows)
