"""Reads what optimization may spend, and what it must keep to: `quality:` and `constraints:`."""

from __future__ import annotations

import re
from pathlib import Path

from packager.domain.generation import ModelKind
from packager.domain.model import Constraints, Metric, QualityBudget, TaskFiles
from packager.section import Section

_DEFAULTS = {Metric.MAX_ABS: 1e-3, Metric.TASK: 0.01, Metric.SQNR: 40.0}


def quality_of(kind: ModelKind) -> QualityBudget:
    """The usual budget: a text model is held to the words that the source would say."""
    if kind is ModelKind.GENERATIVE:
        return QualityBudget(Metric.GREEDY_AGREEMENT, 0.9)
    return QualityBudget()


def read_quality(section: Section, kind: ModelKind) -> QualityBudget:
    """`quality: {metric: …, at_least: …}`; `at_most` for what is an error."""
    usual = quality_of(kind)
    metric = section.choice("metric", Metric, usual.metric)
    if (metric is Metric.GREEDY_AGREEMENT) != (kind is ModelKind.GENERATIVE):
        section.note("metric", f"not for a {kind.value} model", got=metric.value)
    error = metric.smaller_is_better
    bound, other = ("at_most", "at_least") if error else ("at_least", "at_most")
    if other in section:
        section.note(other, f"{metric.value} is bounded by {bound!r}", next_step=f"write {bound}:")
        section.number(other)
    default = _DEFAULTS.get(metric, usual.bound)
    value = section.number(bound, default)
    if metric is Metric.MAX_ABS:
        allowed, expected = value >= 0, "0 or more"
    else:
        most = 1.0 if error else metric.perfect
        allowed, expected = 0 < value <= most, f"more than 0, at most {most:g}"
    if not allowed:
        section.note(bound, "out of range", expected=expected, got=str(value))
    return QualityBudget(metric, value)


def read_task_files(
    section: Section, folder: Path, metric: Metric, *, sampled: bool
) -> TaskFiles | None:
    """`quality: {metric: task, plugin: metric.py, labels: labels.npz}`."""
    if metric is not Metric.TASK:
        for key in ("plugin", "labels"):
            if section.optional_text(key) is not None:
                section.note(key, "belongs to the metric 'task'", next_step="write metric: task")
        return None
    if not sampled:
        section.note("metric", "a task is scored on samples", next_step="write model.samples:")
    return TaskFiles(folder / section.text("plugin"), folder / section.text("labels"))


def read_constraints(root: Section) -> Constraints:
    """`constraints: {p99_ms, max_size, min_qps}`; sizes in bytes, or with kB, MB or GB."""
    section = root.section("constraints")
    found: dict[str, float | None] = {}
    for key in ("p99_ms", "min_qps"):
        value = section.optional_number(key)
        if value is not None and value <= 0:
            section.note(key, "out of range", expected="more than 0", got=str(value))
        found[key] = value
    size = None
    if "max_size" in section:
        size = section.parsed("max_size", _size, "bytes, such as 25000000, 25 MB or 1.5 GB", 0)
    return Constraints(found["p99_ms"], size, found["min_qps"])


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(B|kB|MB|GB)?", text)
    if not found or float(found[1]) <= 0:
        raise ValueError(text)
    return int(float(found[1]) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[found[2] or "B"])
