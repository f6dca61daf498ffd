"""What was chosen for each hardware profile, written as one model package of ONNX Runtime.

ONNX Runtime picks a variant by execution provider and kind of device alone; of two that fit it
takes the first. So profiles share one component only while no two of them would be picked by the
same provider with different models; else each profile is a component of its own, to be asked for by
name. Models are shared assets addressed by content: what several profiles chose is stored once.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packager.canonical import dumps_readable
from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model, OptimizedModel
from packager.optimize.legality import QNN
from packager.optimize.model_package import (
    ASSETS,
    COMPONENT,
    EXECUTOR,
    MANIFEST,
    SCHEMA,
    asset_digest,
)
from packager.workspace import write_atomically

COMPONENT_NAME, TOLD = "model", "ort_info.json"
_NEURAL = (QNN, "VitisAIExecutionProvider", "CANNExecutionProvider")


def write_package(
    models: Mapping[str, OptimizedModel],
    hardware: Mapping[str, HardwareProfile],
    name: str,
    version: str,
    into: Path,
) -> None:
    """Write the package into the folder `into`. `models` and `hardware` go by profile id."""
    components: dict[str, dict[str, Any]] = {}
    for profile, optimized in sorted(models.items()):
        uri = _shared(optimized.model, into)
        component = profile if _ambiguous(models, hardware) else COMPONENT_NAME
        folder = into / component / profile
        told = {"model_file": f"{uri}/{optimized.model.files[0].name}"}
        write_atomically(folder / TOLD, dumps_readable(told))
        components.setdefault(component, {})[profile] = _variant(optimized, hardware[profile])
    for component, variants in components.items():
        body = {"component_name": component, "variants": variants}
        write_atomically(into / component / COMPONENT, dumps_readable(body))
    manifest = {
        "schema_version": SCHEMA,
        "package_name": name,
        "package_version": version,
        "layout": "portable",
        "components": {component: component for component in components},
    }
    write_atomically(into / MANIFEST, dumps_readable(manifest))


def _ambiguous(
    models: Mapping[str, OptimizedModel], hardware: Mapping[str, HardwareProfile]
) -> bool:
    """Whether one provider would find two models to pick from."""
    picked = {(hardware[name].execution_provider, own.model.digest) for name, own in models.items()}
    return len({provider for provider, _ in picked}) < len(picked)


def _variant(optimized: OptimizedModel, hardware: HardwareProfile) -> dict[str, Any]:
    return {
        "ep": hardware.execution_provider,
        "device": _device(hardware),
        "executor_info": {EXECUTOR: TOLD},
        "additional_metadata": {
            "hardware": hardware.id,
            "candidate": optimized.chosen.name,
            "source": str(optimized.source.digest),
            "where": optimized.where,
            "intra_op_threads": optimized.intra_op_threads,
        },
    }


def _device(hardware: HardwareProfile) -> str:
    if hardware.accelerator is None:
        return "cpu"
    return "npu" if hardware.execution_provider in _NEURAL else "gpu"


def _shared(model: Model, into: Path) -> str:
    """Put the files of a model into a shared asset; its URI."""
    digest = asset_digest({file.name: file.digest for file in model.files})
    folder = into / ASSETS / f"sha256-{digest.hex}"
    if not folder.exists():
        for file in model.files:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.path, folder / file.name)
    return str(digest)
