"""How much a target is given: processor, memory, replicas, time to start.

The number of threads is the optimizer's measured choice. Memory is an estimate, and said to be one
wherever it is shown: what the interpreter and ONNX Runtime take before any model, the weights in
the file, prepacked and in activations, and the bodies of requests that wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from packager.domain.hardware import Accelerator
from packager.domain.model import OptimizedModel

TMP_MIB = 64
_MIB = 1 << 20
_BASE_MIB = 256
_REQUESTS_MIB = 512
_WEIGHT_COPIES = 3
_CUDA_CONTEXT_MIB = 2048
_STEP_MIB = 64
_SLOWEST_DISK_MIB_PER_S = 20
_START_SECONDS = 60
_PROBE_PERIOD_SECONDS = 5
# The design case is a surge to ten times the usual load.
_SURGE = 10


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Replicas between two bounds, by the processor's use in percent of what is requested."""

    minimum: int
    maximum: int
    processor_percent: int


@dataclass(frozen=True, slots=True)
class Sizing:
    """`processors` in cores, `memory_mib` and `tmp_mib` in MiB; probes in seconds and tries.

    `replicas` is what is started where nothing scales; accelerators are counted pieces of
    hardware, so that a target which needs one is not scaled by itself.
    """

    processors: int
    memory_mib: int
    tmp_mib: int
    replicas: int
    autoscaling: Autoscaling | None
    startup_period: int
    startup_tries: int

    @property
    def memory_bytes(self) -> int:
        return self.memory_mib * _MIB


def size(model: OptimizedModel, accelerator: Accelerator | None) -> Sizing:
    """What one replica needs: the measured threads and one more core for the server around them."""
    weights_mib = -(-model.model.size // _MIB)
    memory = _BASE_MIB + _REQUESTS_MIB + TMP_MIB + _WEIGHT_COPIES * weights_mib
    seconds = _START_SECONDS + weights_mib // _SLOWEST_DISK_MIB_PER_S
    if accelerator:
        memory += _CUDA_CONTEXT_MIB
        seconds += _START_SECONDS
    return Sizing(
        processors=max(1, model.intra_op_threads) + 1,
        memory_mib=-(-memory // _STEP_MIB) * _STEP_MIB,
        tmp_mib=TMP_MIB,
        replicas=1 if accelerator else 2,
        autoscaling=None if accelerator else Autoscaling(2, 2 * _SURGE, 70),
        startup_period=_PROBE_PERIOD_SECONDS,
        startup_tries=-(-seconds // _PROBE_PERIOD_SECONDS),
    )
