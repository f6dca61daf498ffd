"""How the server shall queue requests for a model, by what was measured when it was optimized.

Measured are the time of one row alone and the rate of rows in batches of several sizes. Putting
requests together pays where a row among others takes clearly less than a row alone, and then the
optimizer names the smallest batch that comes near the best rate; a row that takes less time than
handing it to a thread is run where it is. Where nothing was measured and the hardware is an
accelerator, batches are assumed to pay, as they do on every accelerator known to us. The server
tries at its start whether the model answers row by row, and puts nothing together otherwise.

ONNX Runtime's CUDA provider keeps cuDNN's plan for the last size of batch only and makes a new one
at every change. On an H200 that left a convolution 18 requests a second, and 72 with cuDNN's own
choice of algorithms. Filled up to one size, 32, 16 or 8 rows, it served 592, 1242 and 1769 requests
of one row from 16 clients (benchmarks/assemble/records).

A CUDA graph spares the start of every kernel: one row through a transformer took 0.67 instead of
1.48 ms there, eight rows 1.03 instead of 1.43. Graphs are bound to shapes, so they are recorded for
powers of two of rows, of models in which nothing but the number of rows is free.
"""

from __future__ import annotations

from collections.abc import Collection

from packager.assemble.gpu_libraries import needs_cudnn
from packager.domain.hardware import Wheel
from packager.domain.model import Measurement, Model, OptimizedModel, Verdict
from packager.domain.provider_wheel import cuda_major
from packager.domain.release import PlannedTarget

MAX_BATCH_SIZE = 32
FILLED_BATCH_SIZE = 8
_CLEARLY = 1.15
# Handing a request to a thread and back takes 50 to 100 microseconds on two cores.
_INLINE_MS = 0.2
_MOST_INLINE_ROWS = 64
_CPU = "CPUExecutionProvider"
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_NOT_PLACED = ("BF16", "BYTES")


def queueing(target: PlannedTarget, model: OptimizedModel) -> dict[str, object] | None:
    """The section `batching` of a model in server.json; None to leave the server its defaults."""
    measured = _measured(model)
    settings: dict[str, object] = {}
    if _takes_rows(model) and model.golden and (size := _batch_size(target, model)):
        settings["max_batch_size"] = size
        if plans_by_batch_size(target.hardware.wheel, model.model.operators):
            settings["fill_up"] = [min(size, FILLED_BATCH_SIZE)]
        if takes_graphs(target.hardware.wheel, model.model):
            settings["cuda_graphs"] = _powers_of_two(size)
    if measured and 0 < measured.latency_p50_ms <= _INLINE_MS:
        rows = int(_INLINE_MS / measured.latency_p50_ms)
        settings["inline_rows"] = min(_MOST_INLINE_ROWS, rows)
    return settings or None


def plans_by_batch_size(wheel: Wheel, operators: Collection[str]) -> bool:
    """Whether another number of rows costs the provider a new plan: cuDNN's convolutions."""
    return cuda_major(wheel) is not None and bool(operators) and needs_cudnn(operators)


def takes_graphs(wheel: Wheel, model: Model) -> bool:
    """Whether the model's inferences can be recorded as CUDA graphs, as far as is known here.

    What else may keep the provider from it, a node of the CPU's in the middle, shows at the start.
    """
    tensors = model.inputs + model.outputs
    return (
        cuda_major(wheel) is not None
        and bool(model.operators)
        and _CONTROL_FLOW.isdisjoint(model.operators)
        and all(spec.datatype not in _NOT_PLACED for spec in tensors)
        and all(size > 0 for spec in tensors for size in spec.shape[1:])
    )


def _powers_of_two(most: int) -> list[int]:
    """1, 2, 4 … below `most`, and `most`."""
    return [size for size in (2**power for power in range(most.bit_length())) if size < most] + [
        most
    ]


def _batch_size(target: PlannedTarget, model: OptimizedModel) -> int:
    """The measured choice, 0 for none; a usual size where only the two rates are known."""
    if model.batching:
        return model.batching.max_batch_size
    return MAX_BATCH_SIZE if _pays(target, _measured(model)) else 0


def _pays(target: PlannedTarget, measured: Measurement | None) -> bool:
    if measured is None:
        return target.hardware.execution_provider != _CPU
    alone_per_s = 1000 / measured.latency_p50_ms if measured.latency_p50_ms else 0.0
    return measured.throughput_per_s >= _CLEARLY * alone_per_s > 0


def _measured(model: OptimizedModel) -> Measurement | None:
    chosen = (row for row in model.candidates if row.verdict is Verdict.CHOSEN)
    return next((row.measurement for row in chosen), None)


def _takes_rows(model: OptimizedModel) -> bool:
    tensors = model.model.inputs + model.model.outputs
    return all(spec.shape[:1] == (-1,) for spec in tensors)
