"""Reads `model:`, or `models:` where a release has several.

An entry of the list says what a single model says, and what `serving:`, `quality:`, `constraints:`,
`objective:` and `precision:` say of a single one. The last four may stand at the root as well: they
hold for every model that does not say otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packager.budget_section import read_constraints, read_quality, read_task_files
from packager.declared import country
from packager.domain.generation import ModelKind
from packager.domain.hardware import Precision
from packager.domain.model import Constraints, Metric, Objective, QualityBudget, TaskFiles
from packager.domain.model_request import ModelName, ModelRequest
from packager.generation_section import read_kind
from packager.section import Section, matching
from packager.serving_section import read_steps

MAX_VERSION = (1 << 31) - 1
_MOVE_QUALITY = "write quality: into the entry of models: whose labels these are"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SPDX = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")


@dataclass(frozen=True, slots=True)
class _Aims:
    """What a model is optimized for."""

    quality: QualityBudget
    objective: Objective
    precision: Precision | None
    constraints: Constraints
    task: TaskFiles | None


def read_models(root: Section, folder: Path) -> tuple[tuple[ModelRequest, ...], ModelKind]:
    """All models, the first one first, and their kind; paths are relative to `folder`.

    Always one at least: what is missing is noted.
    """
    if "models" not in root:
        return _only(root, folder)
    entries = root.sections("models")
    for key, why in (
        ("model", "a release has one `model:` or several `models:`"),
        ("serving", "each model has steps of its own"),
    ):
        if key in root:
            root.note(key, why, next_step=f"write it into an entry of models:, and remove {key}:")
    unused = root.section("model")
    unused.keys()
    if not entries:
        root.note("models", "there is no model in the list", expected="at least one")
    shared = _aims(root, folder, ModelKind.PREDICTIVE, sampled=True)
    if shared.quality.metric is Metric.TASK:
        root.note("quality", "the labels of a task belong to one model", next_step=_MOVE_QUALITY)
    models: list[ModelRequest] = []
    for entry in entries or (unused,):
        model = _listed(entry, folder, shared)
        if model.name.name and model.name in [one.name for one in models]:
            entry.note(
                "name",
                f"{model.name.name!r} version {model.name.version} is given twice",
                next_step="give one of the two another name or version",
            )
        models.append(model)
    return tuple(models), ModelKind.PREDICTIVE


def _only(root: Section, folder: Path) -> tuple[tuple[ModelRequest, ...], ModelKind]:
    """`model:`, with what the root says of it; it is called as the release."""
    section = root.section("model", required=True)
    kind = read_kind(section)
    aims = _aims(root, folder, kind, sampled="samples" in section)
    model = _model(section, folder, ModelName(""), root, aims)
    return (model,), kind


def _listed(entry: Section, folder: Path, shared: _Aims) -> ModelRequest:
    if read_kind(entry) is ModelKind.GENERATIVE:
        entry.note(
            "kind",
            "a generative model is not served beside others: it has the processor for itself",
            next_step="write it as `model:` of a release of its own",
        )
    name = entry.parsed("name", matching(_NAME), "letters, digits, '.', '_' and '-'", "")
    sampled = "samples" in entry
    aims = _aims(entry, folder, ModelKind.PREDICTIVE, sampled=sampled, shared=shared)
    return _model(entry, folder, ModelName(name, _version(entry)), entry, aims)


def _model(
    section: Section, folder: Path, name: ModelName, around: Section, aims: _Aims
) -> ModelRequest:
    """A model of `section`; the steps around it stand in `around`."""
    samples = section.optional_text("samples")
    steps = read_steps(around.section("serving"), folder) if "serving" in around else None
    return ModelRequest(
        name=name,
        path=folder / section.text("path"),
        license=_license(section),
        samples=folder / samples if samples else None,
        quality=aims.quality,
        objective=aims.objective,
        precision=aims.precision,
        constraints=aims.constraints,
        task=aims.task,
        steps=steps,
        origin=country(section, "origin"),
    )


def _aims(
    section: Section, folder: Path, kind: ModelKind, *, sampled: bool, shared: _Aims | None = None
) -> _Aims:
    """What `section` says of a model; `shared` holds where it says nothing."""
    if shared and "quality" not in section:
        quality, task = shared.quality, shared.task
    else:
        asked = section.section("quality")
        quality = read_quality(asked, kind)
        task = read_task_files(asked, folder, quality.metric, sampled=sampled)
    return _Aims(
        quality=quality,
        objective=section.choice(
            "objective", Objective, shared.objective if shared else Objective.LATENCY
        ),
        precision=section.choice("precision", Precision)
        if "precision" in section
        else (shared.precision if shared else None),
        constraints=shared.constraints
        if shared and "constraints" not in section
        else read_constraints(section),
        task=task,
    )


def _version(entry: Section) -> str:
    version = entry.whole("version", 1)
    if not 1 <= version <= MAX_VERSION:
        entry.note("version", "out of range", expected=f"1 to {MAX_VERSION}", got=str(version))
    return str(version)


def _license(model: Section) -> str | None:
    if "license" not in model:
        model.optional_text("license")
        return None
    return model.parsed("license", matching(_SPDX), "an SPDX expression such as Apache-2.0", "")
