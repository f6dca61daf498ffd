"""How the image starts, and the labels by which people and registries know it."""

from __future__ import annotations

from packager.assemble.gpu_libraries import library_folders
from packager.assemble.model_files import MODEL_ROOT
from packager.assemble.recipe import PYTHON, environment_key
from packager.assemble.server_config import GRPC_PORT, PORT
from packager.assemble.system_files import USER
from packager.content import ImageSettings
from packager.domain.release import PlannedTarget, ReleaseRequest

_LABEL = "dev.packager."


def image_settings(target: PlannedTarget, request: ReleaseRequest) -> ImageSettings:
    """image-spec `config` for one target: an isolated Python as a user without rights."""
    return ImageSettings(
        entrypoint=(
            f"/usr/bin/python{PYTHON}",
            "-I",
            "-B",  # -I passes over PYTHONDONTWRITEBYTECODE
            "-m",
            "packager_runtime",
            "--config",
            f"/{MODEL_ROOT}/server.json",
        ),
        environment=_environment(target),
        user=USER,
        working_dir=f"/{MODEL_ROOT}",
        ports=(f"{PORT}/tcp", *((f"{GRPC_PORT}/tcp",) if request.serving.grpc else ())),
        labels=_labels(target, request),
    )


def _environment(target: PlannedTarget) -> dict[str, str]:
    environment = {
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # for whoever starts another Python in the image
        "PYTHONUNBUFFERED": "1",
    }
    if folders := library_folders(environment_key(target.hardware)):
        environment["LD_LIBRARY_PATH"] = ":".join(f"/{folder}" for folder in folders)
        # Which driver libraries the container runtime brings in. Which devices is for the site to
        # say: NVIDIA_VISIBLE_DEVICES in an image would give every GPU to whoever starts it.
        environment["NVIDIA_DRIVER_CAPABILITIES"] = "compute,utility"
    return environment


def _labels(target: PlannedTarget, request: ReleaseRequest) -> dict[str, str]:
    labels = {
        "org.opencontainers.image.title": request.name,
        "org.opencontainers.image.version": request.version,
        f"{_LABEL}data-class": request.data_class.value,
        f"{_LABEL}execution-provider": target.hardware.execution_provider,
        f"{_LABEL}hardware": target.hardware.id,
        f"{_LABEL}jurisdiction": target.jurisdiction.id,
        f"{_LABEL}onnxruntime": f"{target.hardware.wheel.name}=={target.hardware.wheel.version}",
        f"{_LABEL}platform": target.name.platform.value,
        f"{_LABEL}regions": ",".join(sorted(str(region) for region in target.regions)),
    }
    if request.base.reference and request.base.digest:  # image-spec, "Pre-Defined Annotation Keys"
        labels["org.opencontainers.image.base.name"] = request.base.reference.partition("@")[0]
        labels["org.opencontainers.image.base.digest"] = request.base.digest
    if licenses := _licenses(request):
        labels["org.opencontainers.image.licenses"] = licenses
    return labels


def _licenses(request: ReleaseRequest) -> str:
    """Those of all models as one SPDX expression; empty when one is not known."""
    found = sorted({one.model_license or "" for one in request.models})
    if "" in found:
        return ""
    return found[0] if len(found) == 1 else " AND ".join(f"({one})" for one in found)
