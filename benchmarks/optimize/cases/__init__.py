"""Models with real inputs, labels and the task that each is for.

A `Case` is what the optimizer is given, and `task`, which tells a graph's figures from end to end
on inputs that the optimizer has not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packager.domain.model import Metric, QualityBudget, TaskFiles
from packager.optimize.engine import open_session

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """A model file, its samples, the budget, the metric's files where it is a task's."""

    name: str
    model: Path
    samples: Path
    budget: QualityBudget
    task: Callable[[Path], Figures]
    files: TaskFiles | None = None


def labelled(folder: Path, metric: str, labels: dict[str, np.ndarray]) -> TaskFiles:
    """The metric's text and its labels as the files of a release."""
    plugin, labels_file = folder / "metric.py", folder / "labels.npz"
    plugin.write_text(metric)
    np.savez(labels_file, **labels)
    return TaskFiles(plugin, labels_file)


def losing_at_most(share: float) -> QualityBudget:
    """The task's mean score may fall by `share`."""
    return QualityBudget(Metric.TASK, share)


def answers(graph: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """The first output for each row, one row a call."""
    session, found = open_session(graph, 2), []
    for index in range(len(next(iter(feeds.values())))):
        one = {name: array[index : index + 1] for name, array in feeds.items()}
        found.append(session.run(None, one)[0])
    return np.concatenate(found)
