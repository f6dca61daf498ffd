"""The user's prompts: read, and split by their content into those that judge and those that travel.

A file of lines. In `.jsonl` each is an object with `messages` (a chat) or `prompt` (a text); in any
other file each line is a text. Golden prompts, four at most, travel in the image with their answers
as the server's self-test; the others judge candidates and leave nothing but their count and digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.model import SampleUse
from packager.errors import Finding, InputError

GOLDEN_AT_MOST = 4
JUDGED_AT_MOST = 400
_MOST_BYTES = 64 << 20
_MOST_FINDINGS = 20

Prompt = str | list[dict[str, Any]]

BUILT_IN: tuple[Prompt, ...] = (
    "The first thing to know is",
    "Returns the number of",
    "Once upon a time",
    "1 2 3 4",
)
"""For the self-test of a model that nobody gave prompts for."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Distinct prompts. `judging` prove quality, `golden` travel; `synthetic`: nobody gave any."""

    judging: tuple[Prompt, ...]
    golden: tuple[Prompt, ...]
    synthetic: bool

    def uses(self) -> tuple[SampleUse, ...]:
        """Counts and digests: what evidence may say about them."""
        parts = (("evaluation", self.judging), ("golden", self.golden))
        return tuple(
            SampleUse(purpose, len(part), Digest.of(dumps(list(part))), self.synthetic)
            for purpose, part in parts
            if part
        )


def read_prompts(path: Path | None) -> Prompts:
    """The prompts in a file, or a few of our own. Raises InputError with all that is wrong."""
    if path is None:
        return Prompts((), BUILT_IN, synthetic=True)
    found = _distinct(_lines(path))
    if not found:
        raise InputError("the file holds no prompt", where=str(path), expected="one in each line")
    golden = min(GOLDEN_AT_MOST, max(1, len(found) // 4))
    return Prompts(
        tuple(found[golden : golden + JUDGED_AT_MOST]), tuple(found[:golden]), synthetic=False
    )


def _distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Each once, in the order of their digests, so that the split depends on nothing else."""
    keyed = {hashlib.sha256(dumps(prompt)).hexdigest(): prompt for prompt in prompts}
    return [keyed[key] for key in sorted(keyed)]


def _lines(path: Path) -> list[Prompt]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("the file of prompts is too large", where=str(path), expected="64 MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "the prompts cannot be read",
            where=str(path),
            expected="a text file in UTF-8: one prompt in each line, or .jsonl",
            got=str(error)[:120],
        ) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if path.suffix.lower() != ".jsonl":
        return [line for _, line in filled]
    found: list[Prompt] = []
    findings: list[Finding] = []
    for number, line in filled:
        prompt = _prompt(line)
        if prompt is None:
            findings.append(
                Finding(
                    "not a prompt",
                    f"{path}:{number}",
                    '{"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}',
                    line[:60],
                )
            )
        else:
            found.append(prompt)
    if findings:
        raise InputError.of(findings[:_MOST_FINDINGS])
    return found


def _prompt(line: str) -> Prompt | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match entry:
        case {"prompt": str(text)} if text:
            return text
        case {"messages": [*messages]} if messages and all(_message(one) for one in messages):
            return list(messages)
        case _:
            return None


def _message(message: object) -> bool:
    match message:
        case {"role": str(), "content": str()}:
            return True
        case _:
            return False
