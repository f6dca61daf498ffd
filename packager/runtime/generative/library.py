"""The only door to ONNX Runtime GenAI, which runs the graphs that our engine does not take.

It is in the image only where a release needs it. Like ONNX Runtime from 1.29 on it holds a client
of a telemetry service, so the same switch as in `silence` is thrown here before the import. It
loads ONNX Runtime's C library by itself; Python's binding is not needed beside it.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from ..errors import ExitCode, Refusal
from .settings import GenerativeSettings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

AVAILABLE = importlib.util.find_spec("onnxruntime_genai") is not None
_VERSION = "0.18."
_FATAL = 4
_PROVIDERS = {"CPUExecutionProvider": None, "CUDAExecutionProvider": "cuda"}


def genai() -> Any:
    """The library, silent; raises Refusal where it is not installed or is another one."""
    if not AVAILABLE:
        raise Refusal(
            ExitCode.UNAVAILABLE,
            "this model is run by ONNX Runtime GenAI, which is not installed here: run its image,"
            " or pip install --no-deps 'onnxruntime-genai==0.18.0'",
        )
    try:
        import onnxruntime_genai
    except (ImportError, OSError) as error:
        told = " ".join(str(error).split())[:300]
        raise Refusal(
            ExitCode.UNAVAILABLE, f"ONNX Runtime GenAI cannot be loaded here: {told}"
        ) from error
    library: Any = onnxruntime_genai
    # Its interfaces for batching are marked experimental and were redesigned in 2026.
    if not str(library.__version__).startswith(_VERSION):
        raise Refusal(
            ExitCode.UNAVAILABLE,
            f"ONNX Runtime GenAI is {library.__version__} here; this server knows {_VERSION}x",
        )
    return library


def open_model(folder: Path, settings: GenerativeSettings) -> Any:
    """The model as its genai_config.json describes it, on the declared provider."""
    library = genai()
    path = folder / str(settings.library_configuration)
    try:
        configuration = library.Config(str(path.parent))
        configuration.overlay(json.dumps(_overlay(settings)))
        provider = _PROVIDERS[settings.execution_provider]
        if provider is None:
            configuration.clear_providers()
        else:
            _give_provider(configuration, path, provider, settings)
        return library.Model(configuration)
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        on_cpu = _PROVIDERS[settings.execution_provider] is None
        raise Refusal(
            ExitCode.DATA if on_cpu else ExitCode.UNAVAILABLE,
            f"{settings}: ONNX Runtime GenAI cannot load it for {settings.execution_provider}:"
            f" {told}",
        ) from error


def _overlay(settings: GenerativeSettings) -> dict[str, Any]:
    """What is decided here and not by whoever exported the model: names, threads, lengths."""
    return {
        "model": {
            "decoder": {
                "filename": Path(settings.decoder.path).name,
                "session_options": {
                    "intra_op_num_threads": settings.decoder.intra_op_threads,
                    "log_severity_level": _FATAL,
                },
            }
        },
        "search": {"max_length": settings.slot_tokens},
    }


def _give_provider(
    configuration: Any, path: Path, provider: str, settings: GenerativeSettings
) -> None:
    """The exporter's own options of the provider stay, ours are added to them."""
    told = json.loads(path.read_bytes())["model"]["decoder"].get("session_options", {})
    named = [name for entry in told.get("provider_options", ()) for name in entry]
    if named != [provider]:
        configuration.clear_providers()
        configuration.append_provider(provider)
    for key, value in settings.provider_options.items():
        configuration.set_provider_option(provider, key, value)
