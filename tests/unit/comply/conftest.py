"""What the tests of the policy engine ask: one target at a time, against the real catalogue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.comply.deciding import decide
from packager.domain.decision import Decision, Status
from packager.domain.hardware import Precision
from packager.domain.model import Objective, QualityBudget
from packager.domain.release import (
    BaseImage,
    Declarations,
    PlannedTarget,
    ReleaseRequest,
    TargetRequest,
)
from packager.domain.target import DataClass, DeploymentPlatform, Region, TargetName
from packager.domain.transfer import DeclaredTransfer

Asking = tuple[PlannedTarget, ReleaseRequest]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def asking(catalogue: Catalogue) -> Callable[..., Asking]:
    """`asking("de", ["aws/eu-central-1"], data="health", registry="registry.example.de/ml")`"""

    def ask(
        jurisdiction: str,
        regions: list[str],
        *,
        data: str = "personal",
        hardware: str = "x86-64-v3",
        platform: str = "kubernetes",
        registry: str | None = None,
        license_: str | None = "Apache-2.0",
        sites: dict[str, str] | None = None,
        declared: dict[str, str] | None = None,
        precision: Precision | None = None,
        facts: dict[str, Any] | None = None,
        transfers: dict[str, list[str]] | None = None,
        base: dict[str, str] | None = None,
        recipients: tuple[str, ...] = (),
    ) -> Asking:
        held = tuple(
            DeclaredTransfer(
                name, tuple(to), "Example Inc.", "the document", "2026-05-12", "release.yaml:20"
            )
            for name, to in (transfers or {}).items()
        )
        name = TargetName(jurisdiction, hardware, DeploymentPlatform(platform))
        places = tuple(Region.parse(region) for region in regions)
        request = ReleaseRequest(
            name="model",
            version="1.0.0",
            model_path=Path("model.onnx"),
            model_license=license_,
            samples=None,
            quality=QualityBudget(),
            objective=Objective.LATENCY,
            data_class=DataClass(data),
            targets=(TargetRequest(name, places, "release.yaml:9: targets[0]"),),
            registries={jurisdiction: registry} if registry else {},
            sites=sites or {},
            registry_countries=declared or {},
            signing_keys=(),
            where="release.yaml",
            precision=precision,
            declared=Declarations(**{"transfers": held, **(facts or {})}),
            base=BaseImage(**(base or {})),
            recipients={jurisdiction: tuple(map(Path, recipients))} if recipients else {},
        )
        target = PlannedTarget(
            name=name,
            jurisdiction=catalogue.jurisdiction(jurisdiction),
            hardware=catalogue.hardware(hardware),
            regions=places,
            registry=registry,
            reference=f"{registry or 'localhost'}/model:1.0.0-{name.slug}",
            where="release.yaml:9: targets[0]",
        )
        return target, request

    return ask


@pytest.fixture(scope="session")
def decided(
    catalogue: Catalogue, asking: Callable[..., Asking]
) -> Callable[..., dict[str, Decision]]:
    """The decisions by control."""

    def ask(*arguments: object, **options: object) -> dict[str, Decision]:
        target, request = asking(*arguments, **options)
        decisions = decide(
            target, request, catalogue.country_of, catalogue.distance_km, catalogue.home_of
        )
        return {decision.control: decision for decision in decisions}

    return ask


@pytest.fixture(scope="session")
def violated(decided: Callable[..., dict[str, Decision]]) -> Callable[..., set[str]]:
    """The controls that refuse the target."""

    def ask(*arguments: object, **options: object) -> set[str]:
        found = decided(*arguments, **options)
        return {name for name, one in found.items() if one.status is Status.VIOLATED}

    return ask
