"""A release: what the user asked for, what was planned, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.domain.artifact import Image
from packager.domain.base import Base
from packager.domain.decision import Decision
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.model import (
    NO_CONSTRAINTS,
    Constraints,
    Objective,
    OptimizedModel,
    QualityBudget,
    TaskFiles,
)
from packager.domain.model_request import ModelName, ModelRequest
from packager.domain.serving import Serving
from packager.domain.target import DataClass, Region, TargetName
from packager.domain.transfer import DeclaredTransfer


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """One entry of `targets:` as the user wrote it. `where` is `file: key path` for messages."""

    name: TargetName
    regions: tuple[Region, ...]
    where: str


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What the images are built on: nothing at all, unless a base is brought.

    `reference` is the base as named (of a folder or archive the name alone: where it lies is
    nobody's business), `digest` pins it (`sha256:…`), and `origin` is the ISO 3166 country of its
    maker, as declared. `path` is where a folder or archive lies.
    """

    reference: str | None = None
    digest: str | None = None
    origin: str | None = None
    path: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What a lock calls it: no registry, no folder, no digest."""
        named = (self.reference or "").partition("@")[0]
        return named if self.path else named.partition("/")[2]

    def __str__(self) -> str:
        if self.reference is None:
            return "none, built from nothing"
        return f"{self.reference} ({self.digest or 'not pinned by digest'})"

    def as_dict(self) -> dict[str, str | None]:
        return {"reference": self.reference, "digest": self.digest, "origin": self.origin}


NO_BASE = BaseImage()


@dataclass(frozen=True, slots=True)
class Declarations:
    """What only the user knows about the site. Believed as declared, and shown as such.

    `hosting_certifications` is the whole list of what the hosts hold, None when nothing is said;
    `model_origin` is the ISO 3166 country of the model's maker; `log_region` is where the server's
    log is collected, `telemetry_region` where its metrics go; `key_location` is the country where
    the keys of the site are held; `transfers` are the legal paths abroad that are held.
    """

    hosting_certifications: tuple[str, ...] | None = None
    model_origin: str | None = None
    log_region: Region | None = None
    key_location: str | None = None
    telemetry_region: Region | None = None
    transfers: tuple[DeclaredTransfer, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """`release.yaml`, or a bare model with the options of the command line.

    `registries` maps a jurisdiction to the registry prefix that it pulls from; `sites` maps the
    name of a room of the user's own (`site/<name>`) to the ISO 3166 country that it stands in;
    `registry_countries` declares the same for registry hosts. `model_license` is an SPDX id;
    `task` is the user's own metric, where `quality` asks for it;
    `precision` pins the number format of the weights, None leaves it to the optimizer; `counter`
    grows with every release of that name (`domain/version.py`); `recipients` maps a jurisdiction to
    the public keys that its model's layer is encrypted for.

    What is said of a model is said of the first one, which is called `called` (by default as the
    release, version 1); `beside` are the others. `records` is where records of the model stand
    among those of others.
    """

    name: str
    version: str
    model_path: Path
    model_license: str | None
    samples: Path | None
    quality: QualityBudget
    objective: Objective
    data_class: DataClass
    targets: tuple[TargetRequest, ...]
    registries: dict[str, str]
    sites: dict[str, str]
    registry_countries: dict[str, str]
    signing_keys: tuple[str, ...]
    where: str
    precision: Precision | None = None
    constraints: Constraints = NO_CONSTRAINTS
    declared: Declarations = Declarations()
    serving: Serving = field(default_factory=Serving)
    base: BaseImage = NO_BASE
    counter: int = 0
    recipients: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    task: TaskFiles | None = None
    called: ModelName | None = None
    beside: tuple[ModelRequest, ...] = ()
    records: str = ""

    @property
    def model_name(self) -> ModelName:
        """What clients call the first model."""
        return self.called or ModelName(self.name)

    @property
    def models(self) -> tuple[ReleaseRequest, ...]:
        """This request once for each model, as if that were the only one."""
        return (replace(self, beside=()), *(self._about(model) for model in self.beside))

    @property
    def features(self) -> tuple[str, ...]:
        """What the server needs further wheels for, whichever model asks for it; sorted."""
        return tuple(sorted({word for one in self.models for word in one.serving.features}))

    def quality_path(self, hardware: str) -> str:
        """Where the quality record of the (first) model for a hardware profile stands."""
        return f"evidence/quality/{self.records}{hardware}.json"

    def _about(self, model: ModelRequest) -> ReleaseRequest:
        return replace(
            self,
            model_path=model.path,
            model_license=model.license,
            samples=model.samples,
            quality=model.quality,
            objective=model.objective,
            precision=model.precision,
            constraints=model.constraints,
            declared=replace(self.declared, model_origin=model.origin),
            serving=Serving(self.serving.grpc, model.steps),
            task=model.task,
            called=model.name,
            beside=(),
            records=f"{model.name.folder}/",
        )


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """A target with its profiles looked up; `reference` is the image's name without digest;
    `features` are what the server needs further wheels for."""

    name: TargetName
    jurisdiction: Jurisdiction
    hardware: HardwareProfile
    regions: tuple[Region, ...]
    registry: str | None
    reference: str
    where: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before any work is done."""

    request: ReleaseRequest
    targets: tuple[PlannedTarget, ...]
    epoch: SourceDateEpoch


@dataclass(frozen=True, slots=True)
class BuiltTarget:
    """A target with its optimized model, its image and its decisions; `base` is what the image was
    put on, None when on nothing; `beside` are further models, in the order of the request."""

    plan: PlannedTarget
    model: OptimizedModel
    image: Image
    decisions: tuple[Decision, ...]
    base: Base | None = None
    beside: tuple[OptimizedModel, ...] = ()

    @property
    def models(self) -> tuple[OptimizedModel, ...]:
        """All of them, as `ReleaseRequest.models` lists them."""
        return (self.model, *self.beside)

    @property
    def folder(self) -> str:
        """Where its manifests stand in the release folder: `targets/de/x86-64-v3/kubernetes`."""
        return f"targets/{self.plan.name}"

    @property
    def pinned_reference(self) -> str:
        """`registry/name@sha256:…`, the only way in which manifests name the image."""
        repository = self.plan.reference.rpartition(":")[0]
        return f"{repository}@{self.image.manifest.digest}"


@dataclass(frozen=True, slots=True)
class Release:
    """A published release folder; `targets` are names with pinned references of their images,
    `indexes` pinned references of what joins images of several architectures."""

    folder: Path
    name: str
    version: str
    digest: Digest
    targets: tuple[tuple[str, str], ...]
    indexes: tuple[str, ...] = ()
