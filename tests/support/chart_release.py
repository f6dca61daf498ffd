"""A small release with charts: two targets for Helm in two countries, and one for Compose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from built_targets import PUBLIC_KEY, sample_target
from small_release import SmallRelease, make_release
from tiny_images import tiny_image

from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.domain.target import DeploymentPlatform
from packager.oci.layer import LayerStore
from packager.render.rendering import render_target

DE, SA, COMPOSE = "de/x86-64-v3/helm", "sa/x86-64-v3/helm", "sa/x86-64-v3/compose"


def chart_release(base: Path, **options: Any) -> SmallRelease:
    """As `make_release`; the targets' files are the renderer's."""
    return make_release(base, **{"build": _build, "manifests": _write, **options})


def _build(
    store: LayerStore, version: str, registry: str | None
) -> tuple[ReleaseRequest, tuple[BuiltTarget, ...]]:
    from small_release import optimized_model

    built = []
    for name in (DE, SA, COMPOSE):
        where, machine, platform = name.split("/")
        target, request = sample_target(where, machine, DeploymentPlatform(platform))
        image = tiny_image(store, target.plan.reference, model=f"weights of {where}".encode())
        plan = replace(target.plan, registry=registry or target.plan.registry)
        built.append(replace(target, plan=plan, image=image, model=optimized_model()))
    return replace(request, version=version), tuple(built)


def _write(folder: Path, target: BuiltTarget, request: ReleaseRequest) -> None:
    for name, data in render_target(target, request, public_key=PUBLIC_KEY).items():
        file = folder / target.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
