"""`check` on a terminal: what there is to do first, each target on its own, lines that fit."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ORDER = ("violated", "left to the operator", "evidenced", "enforced", "not applicable")
_NARROW, _WIDE = 60, 110


def explained(decisions: Mapping[str, Sequence[Any]], everything: bool) -> str:
    """Every decision of every target, by status; what does not apply only when asked for."""
    width = min(max(shutil.get_terminal_size((_WIDE, 24)).columns, _NARROW), _WIDE)
    return "\n\n".join(
        _target(name, made, everything, width) for name, made in sorted(decisions.items())
    )


def _target(name: str, made: Sequence[Any], everything: bool, width: int) -> str:
    counts = Counter(one.status.value for one in made)
    told = " · ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
    lines = [f"{name}: {told}"]
    for status in ORDER:
        if not counts[status]:
            continue
        if status == ORDER[-1] and not everything:
            lines += ["", f"{status}: {counts[status]}, listed with --all"]
            continue
        lines += ["", status]
        for one in sorted(made, key=lambda each: each.control):
            if one.status.value == status:
                lines += _decision(one, width)
    return "\n".join(lines)


def _decision(one: Any, width: int) -> list[str]:
    lines = [f"  {one.control}"]
    law = one.law.told if one.law else ""
    for label, text in (("", one.why), ("→ ", one.remedy or ""), ("law: ", law)):
        if text:
            lines += textwrap.wrap(
                label + text,
                width,
                initial_indent="      ",
                subsequent_indent="      " + " " * len(label),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines
