"""The one home of `import onnxruntime` outside the shipped runtime.

Two promises are kept before the module is imported. Telemetry is off: wheels from 1.29 on report
home from the moment of the import, and only the environment variable comes early enough. And
exactly one distribution provides the module: `onnxruntime` and `onnxruntime-gpu` overwrite each
other's files when both are installed (docs/adr/0003).
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from packager.errors import InputError

_SAVED_WEIGHTS = "session.optimized_model_external_initializers"
TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"

# Distributions that install a module named `onnxruntime`.
PROVIDERS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-qnn",
    "onnxruntime-cann",
    "onnxruntime-directml",
    "onnxruntime-training",
)


def provider(installed: tuple[str, ...]) -> str:
    """The one distribution of `installed` that brings the engine.

    Raises InputError when none does, or more than one.
    """
    if not installed:
        raise InputError(
            "ONNX Runtime is not installed",
            where="Python environment",
            expected="exactly one of onnxruntime and onnxruntime-gpu",
            next_step="pip install onnxruntime  (on a machine with an NVIDIA GPU: onnxruntime-gpu)",
        )
    if len(installed) > 1:
        raise InputError(
            "several distributions provide ONNX Runtime and overwrite each other's files",
            where="Python environment",
            expected="exactly one of onnxruntime and onnxruntime-gpu",
            got=", ".join(installed),
            next_step=f"pip uninstall {' '.join(installed)}, then pip install the one you want",
        )
    return installed[0]


def installed_providers() -> tuple[str, ...]:
    """The distributions in this environment that bring a module named `onnxruntime`."""
    return tuple(name for name in PROVIDERS if _is_installed(name))


def engine_version() -> str:
    """`1.28.0`, without importing the engine. Raises InputError as `provider` does."""
    return metadata.version(provider(installed_providers()))


@cache
def engine() -> ModuleType:
    """The module `onnxruntime`, imported with telemetry off. Raises InputError as `provider`."""
    provider(installed_providers())
    os.environ[TELEMETRY_SWITCH] = "1"
    module = import_module("onnxruntime")
    module.set_default_logger_severity(4)  # what it has to say comes as exceptions
    return module


def quantization() -> ModuleType:
    """The module `onnxruntime.quantization`. Raises InputError as `provider` does."""
    engine()
    return import_module("onnxruntime.quantization")


def transformer_optimizer() -> ModuleType:
    """The module `onnxruntime.transformers.optimizer`; it needs no torch for ONNX files."""
    engine()
    return import_module("onnxruntime.transformers.optimizer")


def open_session(
    model: Path | bytes,
    threads: int,
    *,
    save_optimized: Path | None = None,
    beside: str = "",
    level: str = "extended",
    in_turns: bool = False,
) -> Any:
    """An inference session on the CPU with `threads` threads within an operator; of a file, or of
    its bytes where no weights stand beside it.

    With `save_optimized` the graph is optimized at `level` and written there, its weights to the
    file `beside` it where one is named. `basic` keeps to ONNX's own operators; `extended` fuses
    into contributed ones. ALL would also write memory layouts of the very CPU that it runs on,
    which is not the target's.

    `in_turns`: it is timed in turns with others of this process. The threads of a session go on
    spinning for a while after a run, and take the processors from whoever is next: of two equal
    sessions with as many threads as there are processors each was 1.5 times as fast as the other,
    in turns. So they stop when the run is over; a lone session is as fast with it as without.
    """
    runtime = engine()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if in_turns:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if save_optimized:
        levels = runtime.GraphOptimizationLevel
        options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level.upper()}")
        options.optimized_model_filepath = str(save_optimized)
        if beside:
            # else weights that stood beside the source are looked for beside what is written
            options.add_session_config_entry(f"{_SAVED_WEIGHTS}_file_name", beside)
            options.add_session_config_entry(f"{_SAVED_WEIGHTS}_min_size_in_bytes", "1024")
    given = model if isinstance(model, bytes) else str(model)
    return runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
