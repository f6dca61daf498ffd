"""One of the models of a release, with everything that may differ between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packager.domain.hardware import Precision
from packager.domain.model import Constraints, Objective, QualityBudget, TaskFiles
from packager.domain.serving import Steps

FIRST_VERSION = "1"


@dataclass(frozen=True, slots=True, order=True)
class ModelName:
    """What clients call a model: `/v2/models/<name>/versions/<version>`; the version is a whole
    number as text."""

    name: str
    version: str = FIRST_VERSION

    @property
    def folder(self) -> str:
        """Its place among others: in the image below `models/`, and in the evidence."""
        return f"{self.name}/{self.version}"

    def __str__(self) -> str:
        return self.name if self.version == FIRST_VERSION else f"{self.name} version {self.version}"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """An entry of `models:`. `license` is an SPDX id, `origin` the ISO 3166 country of its maker;
    `steps` are those around it."""

    name: ModelName
    path: Path
    license: str | None
    samples: Path | None
    quality: QualityBudget
    objective: Objective
    precision: Precision | None
    constraints: Constraints
    task: TaskFiles | None
    steps: Steps | None
    origin: str | None
