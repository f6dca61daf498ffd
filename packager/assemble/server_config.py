"""Writes `server.json`, the one contract between the packager and the runtime in the image.

Paths are relative to the file itself, so that the same configuration serves in the image and in a
folder of this machine. Every file of the model is listed by digest: the runtime loads no other.
"""

from __future__ import annotations

from collections.abc import Sequence

from packager.assemble.generative import generative_entry
from packager.assemble.gpu_libraries import needs_cudnn, opened_libraries
from packager.assemble.model_files import GOLDEN, GRAPH, model_folder, placed_files
from packager.assemble.queueing import queueing
from packager.assemble.serving_steps import serving_steps
from packager.canonical import dumps_readable
from packager.domain.model import OptimizedModel
from packager.domain.provider_wheel import cuda_major, cudnn_is_optional
from packager.domain.release import PlannedTarget, ReleaseRequest

API_VERSION = "packager.runtime/v1"
PORT = 8080
GRPC_PORT = 8081
# The golden answers are a CPU's. On an H200 half precision and TF32 were off by 0.0023
# (benchmarks/assemble/records), and another accelerator may round elsewhere.
_GOLDEN_TOLERANCE = {True: 0.001, False: 0.02}
_MAX_BODY_BYTES = 32 << 20
_MAX_CONCURRENCY = 256
_DRAIN_SECONDS = 10


def server_config(
    target: PlannedTarget, request: ReleaseRequest, models: Sequence[OptimizedModel]
) -> bytes:
    """The bytes of `server.json` for one target, with `models` in the order of the request. Raises
    InputError as `placed_files` does."""
    asked = list(zip(request.models, models, strict=True))
    generative = [generative_entry(target, one, model) for one, model in asked if model.generation]
    return dumps_readable(
        {
            "apiVersion": API_VERSION,
            "release": {
                "name": request.name,
                "version": request.version,
                "target": str(target.name),
            },
            "jurisdiction": {
                "id": target.jurisdiction.id,
                "regions": sorted(str(region) for region in target.regions),
            },
            "access": {"exposure": "platform"},  # every manifest keeps strangers from the port
            "records": _records(target, request),
            "models": [_model(target, one, model) for one, model in asked if not model.generation],
            **({"generative": generative} if generative else {}),
            **({"grpc": {"port": GRPC_PORT}} if request.serving.grpc else {}),
            "http": {
                "host": "0.0.0.0",  # noqa: S104  # inside the container; the site maps the port
                "port": PORT,
                "max_body_bytes": _MAX_BODY_BYTES,
                "max_concurrency": _MAX_CONCURRENCY,
                "drain_seconds": _DRAIN_SECONDS,
            },
        }
    )


def _model(
    target: PlannedTarget, request: ReleaseRequest, model: OptimizedModel
) -> dict[str, object]:
    folder = model_folder(request.model_name)
    libraries = opened_libraries(target.hardware.wheel, model.model.operators)
    return {
        "name": request.model_name.name,
        "version": request.model_name.version,
        "path": f"{folder}/{GRAPH}",
        "files": [
            {"path": f"{folder}/{name}", "sha256": digest.hex, "size": size}
            for name, _, digest, size in placed_files(model)
        ],
        "inputs": [tensor.as_dict() for tensor in model.model.inputs],
        "outputs": [tensor.as_dict() for tensor in model.model.outputs],
        "execution_provider": target.hardware.execution_provider,
        "provider_options": _provider_options(target, model),
        "intra_op_threads": model.intra_op_threads,
        "golden": _golden(target, folder) if model.golden else None,
        "origin": {"source": str(model.source.digest), "model": str(model.model.digest)},
        **({"libraries": list(libraries)} if libraries else {}),
        **({"serving": steps} if (steps := serving_steps(request.serving, folder)) else {}),
        **({"batching": batching} if (batching := queueing(target, model)) else {}),
    }


def _records(target: PlannedTarget, request: ReleaseRequest) -> dict[str, object]:
    """The class of data that every line of the log carries, and how long the lines are kept."""
    kept = target.jurisdiction.retention(request.data_class)
    return {
        "retention": request.data_class.value,
        "keep_at_least_days": kept.min_days,
        "keep_at_most_days": kept.max_days,
    }


def _golden(target: PlannedTarget, folder: str) -> dict[str, object]:
    on_cpu = target.hardware.execution_provider == "CPUExecutionProvider"
    return {"path": f"{folder}/{GOLDEN}", "tolerance": _GOLDEN_TOLERANCE[on_cpu]}


def _provider_options(target: PlannedTarget, model: OptimizedModel) -> dict[str, str]:
    """ONNX Runtime looks for cuDNN first unless told that the image has none.

    For convolutions it tries every algorithm, anew for each size of batch; cuDNN's own choice needs
    no trying. On an H200, served with batches of every size: 18 requests a second against 72.
    """
    wheel = target.hardware.wheel
    if cuda_major(wheel) is None:
        return {}
    if not needs_cudnn(model.model.operators):
        return {"enable_cudnn": "0"} if cudnn_is_optional(wheel) else {}
    return {"cudnn_conv_algo_search": "HEURISTIC"}
