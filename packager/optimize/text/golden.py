"""Golden answers: prompts as tokens with what the chosen model says, for the server's self-test.

The server reads prompts in chunks and answers several at a time, perhaps on another processor, so
that its logits differ in their last places. An answer is therefore kept only up to the first token
whose lead over the next best one is small: what is left must come out anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packager.canonical import dumps_readable
from packager.optimize.making import Workshop
from packager.optimize.processes import Failure
from packager.workspace import write_atomically

LEAD = 0.01
"""As a share of all logits' spread; two ways of summing up INT4 differed by a tenth of that."""


def golden_answers(workshop: Workshop, task: dict[str, Any], target: Path) -> Path | Failure:
    """Let the chosen model answer the golden prompts, and write both to `target`."""
    result = workshop.workers.do("golden", task, workshop.folder)
    if isinstance(result, Failure):
        return result
    cases = []
    for prompt, answer, leads in zip(
        task["prompts"], result["answers"], result["leads"], strict=True
    ):
        kept = sure(answer, leads)
        if kept:
            cases.append({"prompt": prompt, "answer": kept})
    if not cases:
        return Failure("every answer begins with a token that another machine might not choose")
    write_atomically(target, dumps_readable({"cases": cases}))
    return target


def sure(answer: list[int], leads: list[float]) -> list[int]:
    """The beginning of an answer that is beyond doubt."""
    kept = []
    for token, lead in zip(answer, leads, strict=True):
        if lead < LEAD:
            break
        kept.append(token)
    return kept
