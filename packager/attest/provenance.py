"""How an image came to be: a SLSA provenance v1 predicate (slsa.dev/spec/v1.0/provenance).

Beside what every build says (who asked for what, from which materials), it records the
optimization: the source model, the passes, the samples that the result was judged on, the tools,
and the result with the place where it was measured. It states no clock time: nothing here knows a
true one, and the caller's epoch stands among the parameters.
"""

from __future__ import annotations

from typing import Any

from packager.attest import purl
from packager.canonical import SourceDateEpoch, dumps
from packager.digest import Digest
from packager.domain.lock import LockedEnvironment
from packager.domain.model import Candidate, Model, OptimizedModel
from packager.domain.release import BuiltTarget, ReleaseRequest

# Identifiers, not addresses; they change when the meaning of the parameters does.
BUILD_TYPE = "urn:packager:build:release-image:v1"
BUILDER = "urn:packager:builder:command-line"


def slsa_provenance(
    built: BuiltTarget,
    request: ReleaseRequest,
    environment: LockedEnvironment,
    lock: Digest,
    epoch: SourceDateEpoch,
    tool_version: str,
) -> dict[str, Any]:
    """The predicate for one target's image; `lock` is the digest of the lock file.

    Raises OSError when the samples cannot be read, whose digest it carries.
    """
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": _asked(built, request, epoch),
        "internalParameters": _optimizations(built, request),
        "resolvedDependencies": [
            *_models(built, request),
            *_materials(environment, lock),
            *_base_materials(built),
        ],
    }
    return {
        "buildDefinition": definition,
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"packager": tool_version}},
            "metadata": {"invocationId": str(Digest.of(dumps(definition)))},
        },
    }


def _asked(built: BuiltTarget, request: ReleaseRequest, epoch: SourceDateEpoch) -> dict[str, Any]:
    return {
        "name": request.name,
        "version": request.version,
        "counter": request.counter,
        "target": str(built.plan.name),
        "regions": [str(region) for region in built.plan.regions],
        "reference": built.plan.reference,
        "platform": str(built.image.platform),
        "dataClass": request.data_class.value,
        **_asked_of(request),
        **({"models": _each_asked(request)} if request.beside else {}),
        "sourceDateEpoch": epoch.seconds,
    }


def _each_asked(request: ReleaseRequest) -> list[dict[str, Any]]:
    return [
        {"name": one.model_name.name, "version": one.model_name.version, **_asked_of(one)}
        for one in request.models
    ]


def _asked_of(model: ReleaseRequest) -> dict[str, Any]:
    """What was asked of the (first) model."""
    return {
        "modelLicense": model.model_license,
        "objective": model.objective.value,
        "quality": {"metric": model.quality.metric.value, "bound": model.quality.bound},
        "precision": model.precision.value if model.precision else None,
    }


def _optimizations(built: BuiltTarget, request: ReleaseRequest) -> dict[str, Any]:
    """That of the first model, and where there are several, of each by name and version."""
    told: dict[str, Any] = {"optimization": _optimization(built.model)}
    if built.beside:
        told["optimizations"] = {
            one.model_name.folder: _optimization(model)
            for one, model in zip(request.models, built.models, strict=True)
        }
    return told


def _optimization(optimized: OptimizedModel) -> dict[str, Any]:
    return {
        "source": {"digest": {"sha256": optimized.source.digest.hex}},
        "result": {"digest": {"sha256": optimized.model.digest.hex}},
        "where": optimized.where,
        "samples": [
            {"purpose": use.purpose, "count": use.count, "digest": {"sha256": use.digest.hex}}
            for use in optimized.samples
        ],
        "intraOpThreads": optimized.intra_op_threads,
        "tools": dict(sorted(optimized.tools)),
        "chosen": _candidate(optimized.chosen),
        "considered": [_candidate(candidate) for candidate in optimized.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": candidate.name,
        "precision": candidate.precision.value,
        "verdict": candidate.verdict.value,
        "reason": candidate.reason,
        "passes": list(candidate.passes),
    }
    if candidate.digest:
        described["digest"] = {"sha256": candidate.digest.hex}
    if measured := candidate.measurement:
        described["measurement"] = {
            "latencyP50Ms": measured.latency_p50_ms,
            "latencyP99Ms": measured.latency_p99_ms,
            "throughputPerS": measured.throughput_per_s,
            "speedup": measured.speedup,
        }
    if quality := candidate.quality:
        described["quality"] = {
            "metric": quality.metric.value,
            "value": quality.value,
            "bound": quality.bound,
            "samples": quality.samples,
        }
    return described


def _models(built: BuiltTarget, request: ReleaseRequest) -> list[dict[str, Any]]:
    """Every model's materials; those beside the first one go by the name of their model."""
    return [
        material
        for one, model in zip(request.models, built.models, strict=True)
        for material in _model_materials(model.source, one)
    ]


def _model_materials(source: Model, request: ReleaseRequest) -> list[dict[str, Any]]:
    """Files go by their name: where they lay is nobody's business."""
    which = f"{request.records}model" if request.records else "model"
    materials = [_material(f"{which}/{file.name}", file.digest) for file in source.files]
    if request.samples:
        materials.append(_material(request.samples.name, Digest.of_file(request.samples)))
    if request.task:
        for file in (request.task.plugin, request.task.labels):
            materials.append(_material(file.name, Digest.of_file(file)))
    return materials


def _materials(environment: LockedEnvironment, lock: Digest) -> list[dict[str, Any]]:
    """Every foreign byte beside the models by digest."""
    materials = [_material("packager.lock", lock)]
    materials += [
        _material(package.name, package.digest, purl.debian(package))
        for package in sorted(environment.packages)
    ]
    materials += [
        _material(wheel.filename, wheel.digest, purl.wheel(wheel))
        for wheel in sorted(environment.wheels)
    ]
    return materials


def _base_materials(built: BuiltTarget) -> list[dict[str, Any]]:
    if built.base is None:
        return []
    layers = built.base.layers
    return [_material(f"base {layers.name}", layers.manifest, purl.base(layers))]


def _material(name: str, digest: Digest, uri: str | None = None) -> dict[str, Any]:
    """in-toto ResourceDescriptor v1."""
    described: dict[str, Any] = {"name": name, "digest": {"sha256": digest.hex}}
    return described | ({"uri": uri} if uri else {})
