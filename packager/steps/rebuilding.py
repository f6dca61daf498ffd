"""The targets of a verified release as values again, to render them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packager.digest import Digest
from packager.domain.artifact import Image
from packager.domain.decision import Decision
from packager.domain.hardware import Precision
from packager.domain.model import (
    Candidate,
    Metric,
    Model,
    ModelFile,
    Objective,
    OptimizedModel,
    QualityBudget,
    TensorSpec,
    Verdict,
)
from packager.domain.release import BuiltTarget, Plan
from packager.domain.target import TargetName
from packager.errors import InputError, VerificationError
from packager.oci.layout_reading import read_layout
from packager.release_folder import ReleaseFolder
from packager.release_source import read_bounded

MAX_RECORD = 4 << 20


def rebuilt(
    plan: Plan,
    decisions: Mapping[TargetName, tuple[Decision, ...]],
    folder: ReleaseFolder,
    chosen: TargetName | None,
) -> tuple[BuiltTarget, ...]:
    """The plan's targets with the images of the release. Raises InputError for one it lacks."""
    layout = read_layout(folder.images, check_layers=False)
    released = {target.name: target for target in folder.targets}
    built = []
    for target in plan.targets:
        if chosen not in (None, target.name):
            continue
        if target.name not in released:
            raise InputError(
                f"the release has no target {target.name}",
                where=target.where,
                expected=", ".join(map(str, released)),
            )
        image: Image = layout.image_of(released[target.name].digest)
        first, *beside = (
            _model(folder, one.quality_path(target.hardware.id)) for one in plan.request.models
        )
        made = decisions[target.name]
        built.append(BuiltTarget(target, first, image, made, beside=tuple(beside)))
    return tuple(built)


def _model(folder: ReleaseFolder, path: str) -> OptimizedModel:
    try:
        record = json.loads(read_bounded(folder.source, path, MAX_RECORD))
        return OptimizedModel(
            source=_files(record["source"]),
            model=_files(record["model"]),
            candidates=tuple(_candidate(row) for row in record["candidates"]),
            where=record["where"],
            golden=None,
            intra_op_threads=record["intra_op_threads"],
            tools=tuple(sorted(record["tools"].items())),
            hardware=record["hardware"],
            budget=QualityBudget(
                Metric(record["budget"]["metric"]), float(record["budget"]["bound"])
            ),
            objective=Objective(record["objective"]),
            held_bytes=int(record.get("held_bytes", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VerificationError(
            "the release lacks its quality record",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
        ) from error


def _files(record: Mapping[str, Any]) -> Model:
    return Model(
        files=tuple(
            # The bytes are in the image; nothing that renders opens them.
            ModelFile(file["name"], Path(file["name"]), Digest.parse(file["digest"]), file["size"])
            for file in record["files"]
        ),
        inputs=tuple(_tensor(tensor) for tensor in record["inputs"]),
        outputs=tuple(_tensor(tensor) for tensor in record["outputs"]),
        opset=record["opset"],
        precision=Precision(record["precision"]),
    )


def _tensor(record: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(record["name"], record["datatype"], tuple(record["shape"]))


def _candidate(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        row["name"],
        Precision(row["precision"]),
        Verdict(row["verdict"]),
        row["reason"],
        tuple(row["passes"]),
    )
