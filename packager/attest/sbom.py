"""The bill of materials of an image: a CycloneDX 1.6 ML-BOM (ECMA-424), one document for an image.

It names what a site has to answer for: Debian packages and wheels as pinned in the lock, the model
with its files, licence, inputs, outputs and measured quality, the source model that it was made
from, the samples that it was judged on, and the server. Written by hand, since the library has no
model card yet; its validator checks ours in the tests. Same inputs, same bytes: the serial number
comes from the content, the time from SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

from packager import __version__
from packager.attest import purl
from packager.attest.base_sbom import base_components, base_composition, of_base
from packager.attest.cosign import repository_of
from packager.canonical import SourceDateEpoch, dumps
from packager.digest import Digest
from packager.domain.lock import LockedEnvironment, LockedPackage, LockedWheel
from packager.domain.model import Metric, Model, ModelFile, OptimizedModel, TensorSpec
from packager.domain.release import BuiltTarget, ReleaseRequest

MODEL, SOURCE, SAMPLES, RUNTIME = "model", "model-source", "samples", "runtime"
# Short names such as "BSD" are words for licences, but no SPDX identifiers.
_SPDX_ID = r"\(*(?:MIT|ISC|Zlib|X11|0BSD|Unlicense|curl|[A-Za-z0-9.]+-[A-Za-z0-9.+-]+)\)*"
_SPDX = re.compile(rf"{_SPDX_ID}(?: (?:AND|OR|WITH) {_SPDX_ID})*")
_Component = dict[str, Any]


def cyclonedx(
    built: BuiltTarget,
    request: ReleaseRequest,
    environment: LockedEnvironment,
    epoch: SourceDateEpoch,
) -> dict[str, Any]:
    """The ML-BOM of one target's image as a JSON object.

    Raises OSError when the samples cannot be read, whose digest it carries.
    """
    models = zip(built.models, request.models, strict=True)
    components = [
        *(part for model, asked in models for part in _of_model(model, asked)),
        _runtime(),
        *(_package(package) for package in sorted(environment.packages)),
        *(_wheel(wheel) for wheel in sorted(environment.wheels)),
    ]
    if built.base:
        components += base_components(built.base, {part["bom-ref"] for part in components})
    subject = _image(built, request)
    content = {
        "metadata": {
            "timestamp": epoch.rfc3339(),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": _tools(built.models)},
            "component": subject,
        },
        "components": components,
        "dependencies": _dependencies(subject, components),
        **({"compositions": base_composition(built.base)} if built.base else {}),
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, dumps(content).decode())}",
        "version": 1,
        **content,
    }


def _image(built: BuiltTarget, request: ReleaseRequest) -> _Component:
    repository = repository_of(built.image.reference)
    layers = [(f"layer.{layer.kind}", str(layer.diff_id)) for layer in built.image.layers]
    return {
        "type": "container",
        "bom-ref": "image",
        "name": repository,
        "version": request.version,
        "hashes": _hashes(built.image.manifest.digest),
        "purl": purl.image(built.image, repository),
        "properties": _properties(
            [
                ("target", str(built.plan.name)),
                ("platform", str(built.image.platform)),
                ("execution-provider", built.plan.hardware.execution_provider),
                *layers,
            ]
        ),
    }


def _of_model(optimized: OptimizedModel, request: ReleaseRequest) -> list[_Component]:
    """A model, what lies beside it, and its samples."""
    beside = sorted(optimized.accompanying, key=lambda file: file.name)
    return [
        _model(optimized, request),
        *(_beside(file, _which(request)) for file in beside),
        *([_samples(request)] if request.samples else []),
    ]


def _which(request: ReleaseRequest) -> str:
    """What a reference to a part of a model ends in; nothing for the first model of a release."""
    return f":{request.model_name.folder}" if request.records else ""


def _model(optimized: OptimizedModel, request: ReleaseRequest) -> _Component:
    shipped, source = optimized.model, optimized.source
    card: dict[str, Any] = {
        "modelParameters": {
            "inputs": [_tensor(tensor) for tensor in shipped.inputs],
            "outputs": [_tensor(tensor) for tensor in shipped.outputs],
            **({"datasets": [{"ref": SAMPLES + _which(request)}]} if request.samples else {}),
        }
    }
    if metrics := _metrics(optimized):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    component = _model_component(MODEL + _which(request), request, shipped) | {"modelCard": card}
    if shipped.digest != source.digest:
        component["pedigree"] = {
            "ancestors": [_model_component(SOURCE + _which(request), request, source)],
            "notes": f"{optimized.chosen.name}: {', '.join(optimized.chosen.passes)}",
        }
    return component


def _model_component(reference: str, request: ReleaseRequest, model: Model) -> _Component:
    """A model's own digest is over all its files, so a hash stands there only for a single file."""
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": request.called.name if request.called else request.name,
        "version": request.called.version if request.called else request.version,
        **_licenses(request.model_license),
        **({"hashes": _hashes(model.files[0].digest)} if len(model.files) == 1 else {}),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{reference}/{file.name}",
                "name": file.name,
                "hashes": _hashes(file.digest),
            }
            for file in model.files
        ],
        "properties": _properties(
            [
                ("model.digest", str(model.digest)),
                ("model.precision", model.precision.value),
                ("model.opset", str(model.opset)),
                ("model.format", "ONNX"),
            ]
        ),
    }


def _beside(file: ModelFile, which: str) -> _Component:
    """What lies beside the model and decides with it what is answered: the tokenizer, the chat
    template, the names of classes, and the graph and weights of a draft."""
    described: _Component = {
        "bom-ref": f"beside{which}/{file.name}",
        "name": file.name,
        "hashes": _hashes(file.digest),
    }
    if file.name.endswith(".onnx"):
        return {"type": "machine-learning-model", **described}
    return {
        "type": "data",
        **described,
        "data": [{"type": "configuration", "name": "read beside the model"}],
    }


def _tensor(tensor: TensorSpec) -> dict[str, str]:
    shape = ",".join("?" if size < 0 else str(size) for size in tensor.shape)
    return {"format": f"{tensor.name}: {tensor.datatype}[{shape}]"}


def _metrics(optimized: OptimizedModel) -> list[dict[str, Any]]:
    """What was measured, and where; nothing that was not."""
    chosen = optimized.chosen
    metrics: list[dict[str, Any]] = []
    if chosen.quality:
        metrics.append(
            {
                "type": chosen.quality.metric.value,
                "value": str(chosen.quality.value),
                "slice": f"{chosen.quality.samples} held-out samples",
                "confidenceInterval": {_side(chosen.quality.metric): str(chosen.quality.bound)},
            }
        )
    if chosen.measurement:
        figures = {
            "latency_p50_ms": chosen.measurement.latency_p50_ms,
            "latency_p99_ms": chosen.measurement.latency_p99_ms,
            "throughput_per_s": chosen.measurement.throughput_per_s,
        }
        metrics += [
            {"type": name, "value": str(value), "slice": optimized.where}
            for name, value in figures.items()
        ]
    return metrics


def _side(metric: Metric) -> str:
    """Agreement is bounded from below, an error from above."""
    return "upperBound" if metric.smaller_is_better else "lowerBound"


def _samples(request: ReleaseRequest) -> _Component:
    if request.samples is None:
        raise ValueError("no samples")
    return {
        "type": "data",
        "bom-ref": SAMPLES + _which(request),
        "name": request.samples.name,
        "hashes": _hashes(Digest.of_file(request.samples)),
        "data": [{"type": "dataset", "name": "samples for calibration and quality"}],
    }


def _runtime() -> _Component:
    return {
        "type": "application",
        "bom-ref": RUNTIME,
        "name": "packager-runtime",
        "version": __version__,
        **_licenses("Apache-2.0"),
    }


def _package(package: LockedPackage) -> _Component:
    return {
        "type": "library",
        "bom-ref": purl.debian(package),
        "name": package.name,
        "version": package.version,
        "hashes": _hashes(package.digest),
        "purl": purl.debian(package),
        **_licenses(package.license),
    }


def _wheel(wheel: LockedWheel) -> _Component:
    return {
        "type": "library",
        "bom-ref": purl.wheel(wheel),
        "name": wheel.name,
        "version": wheel.version,
        "hashes": _hashes(wheel.digest),
        "purl": purl.wheel(wheel),
        **_licenses(wheel.license),
    }


def _dependencies(subject: _Component, components: Sequence[_Component]) -> list[dict[str, Any]]:
    """The image holds all; the runtime runs on wheels, and those on packages, as layers do."""
    ours = [part["bom-ref"] for part in components if not of_base(part)]
    wheels = [reference for reference in ours if reference.startswith("pkg:pypi/")]
    packages = [reference for reference in ours if reference.startswith("pkg:deb/")]
    references = [part["bom-ref"] for part in components]
    shipped = [one for one in references if one.partition(":")[0] != SAMPLES]
    return [
        {"ref": subject["bom-ref"], "dependsOn": shipped},
        {"ref": RUNTIME, "dependsOn": wheels},
        *({"ref": wheel, "dependsOn": packages} for wheel in wheels),
    ]


def _licenses(text: str | None) -> dict[str, Any]:
    """SPDX where the text is SPDX in form, else the text as it was found; nothing when unknown."""
    if not text:
        return {}
    if _SPDX.fullmatch(text):
        return {"licenses": [{"expression": text}]}
    return {"licenses": [{"license": {"name": text}}]}


def _hashes(digest: Digest) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest.hex}]


def _tools(models: Sequence[OptimizedModel]) -> list[_Component]:
    """Each tool once: the optimizer names packager among its own."""
    named = {("packager", __version__), *(tool for model in models for tool in model.tools)}
    return [
        {"type": "application", "name": name, "version": version} for name, version in sorted(named)
    ]


def _properties(pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": f"packager:{name}", "value": value} for name, value in pairs]
