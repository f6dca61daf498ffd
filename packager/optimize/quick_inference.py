"""ONNX Runtime's quantizers with shape inference in memory, and without the weights.

They write the whole model to a temporary file and read it again, two or three times for each
candidate, to learn the shapes of its tensors: half of the time that making one takes, and all of
its traffic with the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import onnx

from packager.optimize.engine import quantization
from packager.optimize.shapes import inferred

_HOMES = ("quant_utils", "quantize", "onnx_quantizer", "base_quantizer", "calibrate")
_BESIDE = 1024
"""Bytes from which on `onnx.save_model` writes a weight beside the graph."""
_LOAD, _RELOAD = "load_model_with_shape_infer", "save_and_reload_model_with_shape_infer"


@contextmanager
def quick_inference() -> Iterator[None]:
    """Inside, the quantizers infer in memory. Of a version that names things otherwise, nothing is
    touched. For worker processes: it changes the module for everybody."""
    home = quantization().__name__
    modules = [import_module(f"{home}.{name}") for name in _HOMES]
    ours: dict[str, Callable[..., onnx.ModelProto]] = {_LOAD: _loaded, _RELOAD: _reloaded}
    before: list[tuple[ModuleType, str, object]] = [
        (module, name, getattr(module, name))
        for module in modules
        for name in ours
        if hasattr(module, name)
    ]
    for module, name, _ in before:
        setattr(module, name, ours[name])
    try:
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)


def _loaded(path: Path) -> onnx.ModelProto:
    return _typed(onnx.load(path))


def _reloaded(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:  # as they come back from a file of their own
        if len(tensor.raw_data) >= _BESIDE:
            tensor.data_location = onnx.TensorProto.DEFAULT
    return _typed(copy)


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what inference tells of its tensors, marked as the quantizers mark it."""
    graph = inferred(model)
    for field in ("value_info", "output"):
        values = getattr(model.graph, field)
        del values[:]
        values.extend(getattr(graph, field))
    import_module(f"{quantization().__name__}.quant_utils").add_infer_metadata(model)
    return model
