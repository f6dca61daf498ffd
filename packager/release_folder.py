"""A release that was verified, as values, wherever it lies.

Only `pipeline.open_verified` makes one for use: parsing is not believing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from packager.digest import Digest
from packager.domain.artifact import Platform
from packager.domain.model_request import FIRST_VERSION, ModelName
from packager.domain.target import TargetName
from packager.errors import InputError, VerificationError
from packager.release_source import (
    DeclaringSource,
    Files,
    ReleaseSource,
    images_of,
    read_bounded,
)

MAX_ROOT = 16 << 20


@dataclass(frozen=True, slots=True)
class ReleasedChart:
    """A target's chart in the layout: `registry/charts/<place>-<hardware>/<chart>:<version>`."""

    reference: str
    digest: Digest

    @property
    def pinned(self) -> str:
        """`registry/charts/…/chart@sha256:…`"""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"


@dataclass(frozen=True, slots=True)
class ReleasedIndex:
    """One name for the images of several architectures."""

    reference: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class ReleasedTarget:
    """One target of a release folder."""

    name: TargetName
    reference: str
    digest: Digest
    config: Digest
    platform: Platform
    registry: str | None
    manifests: str
    chart: ReleasedChart | None = None

    @property
    def pinned(self) -> str:
        """`registry/name@sha256:…`"""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """What `release.json` says; `targets` are those that the source carries, `indexed` the names
    for several of them together, `models` what clients call the models of every image."""

    source: ReleaseSource
    name: str
    version: str
    digest: Digest
    data_class: str
    targets: tuple[ReleasedTarget, ...]
    indexed: tuple[ReleasedIndex, ...] = ()
    models: tuple[ModelName, ...] = ()

    @classmethod
    def read(cls, source: ReleaseSource) -> ReleaseFolder:
        """Parse `release.json`. Raises VerificationError when it is no release."""
        try:
            data = read_bounded(source, "release.json", MAX_ROOT)
            document = json.loads(data)
            return cls(
                source=source,
                name=document["metadata"]["name"],
                version=document["metadata"]["version"],
                digest=Digest.of(data),
                data_class=document["data"]["class"],
                targets=tuple(
                    _target(entry)
                    for entry in document["targets"]
                    if not isinstance(source, DeclaringSource) or entry["name"] in source.targets
                ),
                indexed=tuple(
                    ReleasedIndex(entry["reference"], Digest.parse(entry["digest"]))
                    for entry in document.get("indexes", ())
                    if not isinstance(source, DeclaringSource)
                    or set(entry["targets"]) <= set(source.targets)
                ),
                models=tuple(
                    ModelName(entry["name"], entry.get("version", FIRST_VERSION))
                    for entry in document.get("models", [document["model"]])
                ),
            )
        except (ValueError, KeyError, TypeError, RecursionError, VerificationError) as error:
            raise VerificationError(
                "this is no release",
                where=f"{source.location}/release.json",
                got=f"{type(error).__name__}: {error}",
                next_step="give what `packager build -o` or `packager bundle -o` made",
            ) from error

    @property
    def images(self) -> Files:
        """The OCI image layout of all targets."""
        return images_of(self.source)

    def target(self, name: TargetName | None, platform: Platform | None = None) -> ReleasedTarget:
        """The named target; without a name the first one for `platform`, else the first one.

        Raises InputError when the release has no such target.
        """
        if name is None:
            fitting = [
                target
                for target in self.targets
                if platform and target.platform.architecture == platform.architecture
            ]
            return (fitting or list(self.targets))[0]
        for target in self.targets:
            if target.name == name:
                return target
        raise InputError(
            f"the release has no target {name}",
            where="--target",
            expected=", ".join(str(target.name) for target in self.targets),
        )

    def repositories(self, registry: str | None) -> dict[str, str]:
        """Image reference → where to push it; below `registry` when one is given.

        Raises InputError when a target has no registry of its own and none is given.
        """
        lacking = [str(target.name) for target in self.targets if not target.registry]
        if lacking and registry is None:
            raise InputError(
                "the release names no registry for " + ", ".join(lacking),
                next_step="name one: packager push RELEASE_DIR REGISTRY --key KEY",
            )
        return {
            target.reference: (
                target.reference
                if registry is None
                else f"{registry.rstrip('/')}/{target.reference.rpartition('/')[2]}"
            )
            for target in self.targets
        }

    def indexes(self, registry: str | None) -> dict[str, tuple[Digest, str]]:
        """Index's reference → its digest, and where to push it, beside its images."""
        return {
            index.reference: (
                index.digest,
                index.reference
                if registry is None
                else f"{registry.rstrip('/')}/{index.reference.rpartition('/')[2]}",
            )
            for index in self.indexed
        }

    def charts(self, registry: str | None) -> dict[str, tuple[Digest, str]]:
        """Chart's reference → the digest of its manifest, and where to push it; below `registry`
        when one is given, in the same folders."""
        return {
            chart.reference: (
                chart.digest,
                chart.reference
                if registry is None
                else "/".join([registry.rstrip("/"), *chart.reference.split("/")[-3:]]),
            )
            for chart in (target.chart for target in self.targets)
            if chart
        }


def _target(entry: dict[str, Any]) -> ReleasedTarget:
    image = entry["image"]
    chart = entry.get("chart")
    return ReleasedTarget(
        name=TargetName.parse(entry["name"]),
        reference=image["reference"],
        digest=Digest.parse(image["digest"]),
        config=Digest.parse(image["config"]),
        platform=Platform(
            image["platform"]["os"],
            image["platform"]["architecture"],
            image["platform"].get("variant", ""),
        ),
        registry=entry["registry"],
        manifests=entry["manifests"],
        chart=(ReleasedChart(chart["reference"], Digest.parse(chart["digest"])) if chart else None),
    )
