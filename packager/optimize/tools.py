"""Everything that has a hand in a candidate's bytes, by name and version."""

from __future__ import annotations

from functools import cache
from importlib import metadata

import packager
from packager.optimize.engine import engine_version


@cache
def tools() -> tuple[tuple[str, str], ...]:
    """Names and versions, sorted, without importing any of them."""
    return (
        ("numpy", metadata.version("numpy")),
        ("onnx", metadata.version("onnx")),
        ("onnxruntime", engine_version()),
        ("packager", packager.__version__),
    )
