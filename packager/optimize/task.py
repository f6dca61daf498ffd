"""The user's own metric: a small Python file with labels, read once, run in worker processes only.

The file defines `score(outputs, labels)`. Both are dictionaries of arrays whose first axis counts
samples; it gives one score for each sample, from 0 to 1, larger is better: booleans or whole
numbers where an answer is right or wrong, else floats. A sample's score must depend on that sample
alone, since samples are scored in parts. What was hashed is what runs: the file is kept as bytes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packager.digest import Digest
from packager.domain.model import TaskFiles
from packager.errors import Finding, InputError
from packager.optimize.foreign_words import first_line
from packager.optimize.gate import Scores
from packager.optimize.npz import Array
from packager.optimize.samples import Feed, Samples, load_arrays

FUNCTION = "score"
_SHAPE = f"a file that defines `def {FUNCTION}(outputs, labels):`"


@dataclass(frozen=True, slots=True)
class Task:
    """The metric's text and the labels of all samples, with the digests of both files."""

    text: bytes
    labels: Feed
    plugin_digest: Digest
    labels_digest: Digest

    def part(self, indices: Sequence[int]) -> Feed:
        """The labels of some samples."""
        chosen = np.asarray(indices, dtype=np.int64)
        return {name: array[chosen] for name, array in self.labels.items()}


def read_task(files: TaskFiles, samples: Samples) -> Task:
    """Read the metric and hold its labels against the samples. Raises InputError with all findings.

    The file is parsed, and not run: that is for a worker.
    """
    text, findings = _text(files.plugin)
    try:
        labels = load_arrays(files.labels, "labels")
    except InputError as error:
        raise InputError.of([*findings, *error.findings]) from error
    count = max((len(array) for array in samples.arrays.values()), default=0)
    for name, array in sorted(labels.items()):
        if not array.ndim or len(array) != count:
            got = f"{len(array)}" if array.ndim else "one value"
            findings.append(
                Finding(
                    f"the labels {name!r} do not fit the samples",
                    str(files.labels),
                    f"one for each of the {count} samples, on the first axis",
                    got,
                )
            )
    if not labels:
        findings.append(Finding("there are no labels in the file", str(files.labels), "an array"))
    if findings:
        raise InputError.of(findings)
    return Task(text, labels, Digest.of(text), Digest.of_file(files.labels))


def _text(file: Path) -> tuple[bytes, list[Finding]]:
    """The file's bytes, and why they are no metric."""
    try:
        text = file.read_bytes()
    except OSError as error:
        got = error.strerror or first_line(str(error))
        return b"", [Finding("the task's metric cannot be read", str(file), _SHAPE, got)]
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        got = first_line(str(error))
        return text, [Finding("the task's metric is no Python", str(file), _SHAPE, got)]
    named = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == FUNCTION]
    if not named or len(named[-1].args.args) + len(named[-1].args.posonlyargs) != 2:
        got = "no such function" if not named else "another number of arguments"
        return text, [Finding("the task's metric does not score", str(file), _SHAPE, got)]
    return text, []


def score(plugin: Path, outputs: Feed, labels: Feed) -> Array:
    """Run the metric. In worker processes only. Raises ValueError for what are no scores."""
    space: dict[str, Any] = {"__name__": "packager_task", "__file__": str(plugin)}
    exec(compile(plugin.read_bytes(), str(plugin), "exec"), space)  # noqa: S102 - the user's own metric, in a process of its own
    scores = np.asarray(space[FUNCTION](dict(outputs), dict(labels)))
    count = len(next(iter(labels.values())))
    if scores.shape != (count,) or scores.dtype.kind not in "biuf":
        raise ValueError(
            f"score() gave {scores.dtype} of shape {scores.shape} for {count} samples;"
            " expected one number for each"
        )
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
        raise ValueError("score() gave a value that does not lie between 0 and 1")
    return scores


def scores_of(source: Array, candidate: Array) -> Scores:
    """Both in the form that the gate takes."""
    whole = source.dtype.kind in "biu" and candidate.dtype.kind in "biu"
    return Scores(source.astype(np.float64), candidate.astype(np.float64), whole)
