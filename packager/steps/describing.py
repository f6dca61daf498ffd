"""What `release.json` says, besides the list of files that sealing adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packager import __version__
from packager.assemble.lock_file import lock_bytes
from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.domain.chart import PackedChart
from packager.domain.image_index import ImageIndex
from packager.domain.lock import Lock
from packager.domain.model import OptimizedModel
from packager.domain.release import BuiltTarget, ReleaseRequest


def describe(
    request: ReleaseRequest,
    built: Sequence[BuiltTarget],
    lock: Lock,
    epoch: SourceDateEpoch,
    charts: Mapping[str, PackedChart] | None = None,
    indexes: Sequence[ImageIndex] = (),
) -> dict[str, Any]:
    """The document of a release: its model, its targets with their images and charts, its lock."""
    source = built[0].model.source
    packed = charts or {}
    return {
        "apiVersion": "packager/v1",
        "kind": "Release",
        "metadata": {
            "name": request.name,
            "version": request.version,
            "counter": request.counter,
        },
        "created": epoch.rfc3339(),
        "tool": {"name": "packager", "version": __version__},
        "model": {
            "name": request.model_name.name,
            "digest": str(source.digest),
            "license": request.model_license,
            "inputs": [tensor.as_dict() for tensor in source.inputs],
            "outputs": [tensor.as_dict() for tensor in source.outputs],
        },
        **({"models": _models(request, built)} if request.beside else {}),
        "data": {"class": request.data_class.value},
        "declared": _declared(request),
        "quality": {"metric": request.quality.metric.value, "bound": request.quality.bound},
        "objective": request.objective.value,
        "lock": {
            "path": "evidence/packager.lock",
            "digest": str(Digest.of(lock_bytes(lock))),
        },
        "targets": [_target(target, packed.get(str(target.plan.name))) for target in built],
        **({"indexes": [index.as_dict() for index in indexes]} if indexes else {}),
    }


def _models(request: ReleaseRequest, built: Sequence[BuiltTarget]) -> list[dict[str, Any]]:
    """Every model of a release that has several; the first one again stands in `model`."""
    return [
        {
            "name": one.model_name.name,
            "version": one.model_name.version,
            "digest": str(model.source.digest),
            "license": one.model_license,
            "origin": one.declared.model_origin,
            "inputs": [tensor.as_dict() for tensor in model.source.inputs],
            "outputs": [tensor.as_dict() for tensor in model.source.outputs],
            "quality": {"metric": one.quality.metric.value, "bound": one.quality.bound},
            "objective": one.objective.value,
            "chosen": {str(target.plan.name): _chosen(target.models[place]) for target in built},
        }
        for place, (one, model) in enumerate(zip(request.models, built[0].models, strict=True))
    ]


def _chosen(model: OptimizedModel) -> dict[str, str]:
    return {
        "candidate": model.chosen.name,
        "precision": model.model.precision.value,
        "digest": str(model.model.digest),
    }


def _declared(request: ReleaseRequest) -> dict[str, Any]:
    """What decisions call "as you declared", so that it stands under the signature."""
    said = request.declared
    held = said.hosting_certifications
    return {
        "sites": dict(sorted(request.sites.items())),
        "registry_countries": dict(sorted(request.registry_countries.items())),
        "hosting_certifications": None if held is None else list(held),
        "model_origin": said.model_origin,
        "log_region": str(said.log_region) if said.log_region else None,
        "key_location": said.key_location,
        "telemetry_region": str(said.telemetry_region) if said.telemetry_region else None,
        "transfers": [one.as_dict() for one in sorted(said.transfers)],
        "base": request.base.as_dict(),
    }


def _target(built: BuiltTarget, chart: PackedChart | None) -> dict[str, Any]:
    image = built.image
    return {
        **({"chart": chart.as_dict()} if chart else {}),
        "name": str(built.plan.name),
        "jurisdiction": built.plan.name.jurisdiction,
        "hardware": built.plan.name.hardware,
        "platform": built.plan.name.platform.value,
        "regions": [str(region) for region in built.plan.regions],
        "registry": built.plan.registry,
        "manifests": built.folder,
        "model": _chosen(built.model),
        "image": {
            "reference": image.reference,
            "pinned": built.pinned_reference,
            "digest": str(image.manifest.digest),
            "config": str(image.config.digest),
            "size": image.size,
            "platform": image.platform.as_dict(),
        },
        "decisions": {
            status: sum(decision.status.value == status for decision in built.decisions)
            for status in sorted({decision.status.value for decision in built.decisions})
        },
    }
