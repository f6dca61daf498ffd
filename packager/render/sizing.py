"""How much a target is given: processor, memory, replicas, time to start.

The number of threads is the optimizer's measured choice. Memory is an estimate, and said to be one
wherever it is shown: what the interpreter and ONNX Runtime take before any model, the weights in
the file, prepacked and in activations, and the bodies of requests that wait; of a text model also
the keys and values of its slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from packager.domain.hardware import Accelerator
from packager.domain.model import OptimizedModel
from packager.render.settings import Settings

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
_PULL_SECONDS = 300
# The design case is a surge to ten times the usual load.
_SURGE = 10
_WAIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Replicas between two bounds, by the processor's use in percent of what is requested."""

    minimum: int
    maximum: int
    processor_percent: int


@dataclass(frozen=True, slots=True)
class Sizing:
    """`processor_millis` is reserved and `processors` the most, in thousandths and in whole cores;
    `memory_mib` and `tmp_mib` in MiB; the startup probe's period in seconds, and how many tries.

    Half a core less than the threads is reserved, so that a node with as many cores as threads
    still takes the pod beside what the system keeps for itself; one more than the threads is the
    most, for the server around them.
    `replicas` is what is started where nothing scales; accelerators are counted pieces of
    hardware, so that a target which needs one is not scaled by itself.
    `per_second` is the measured rate of one replica, None where nothing was measured; `waiting` is
    how many requests may wait for a replica before another is started; `memory_set` says that the
    operator set the memory, which is then no estimate.
    """

    threads: int
    processor_millis: int
    processors: int
    memory_mib: int
    tmp_mib: int
    replicas: int
    autoscaling: Autoscaling | None
    startup_period: int
    startup_tries: int
    per_second: float | None = None
    waiting: int = 1
    memory_set: bool = False

    @property
    def memory_bytes(self) -> int:
        return self.memory_mib * _MIB

    @property
    def tmp_bytes(self) -> int:
        return self.tmp_mib * _MIB

    @property
    def startup_seconds(self) -> int:
        """How long loading the model and the self-test may take before it counts as failed."""
        return self.startup_period * self.startup_tries

    @property
    def progress_seconds(self) -> int:
        """How long a roll-out may stand still: pulling the image, then starting."""
        return self.startup_seconds + _PULL_SECONDS


def size(
    models: Sequence[OptimizedModel],
    accelerator: Accelerator | None,
    settings: Settings | None = None,
) -> Sizing:
    """What one replica of all models needs on a machine with or without an accelerator.

    All weights are in memory at once; how requests are shared out among the models nobody knows, so
    that threads are those of the one that wants most, and the rate is that of the slowest.
    """
    settings = settings or Settings()
    threads = max(1, *(model.intra_op_threads for model in models))
    weights_mib = sum(-(-model.model.size // _MIB) for model in models)
    held = sum(model.held_bytes for model in models)
    memory = _BASE_MIB + _REQUESTS_MIB + TMP_MIB + _WEIGHT_COPIES * weights_mib
    memory += -(-held // _MIB)
    seconds = _START_SECONDS + weights_mib // _SLOWEST_DISK_MIB_PER_S
    if accelerator:
        memory += _CUDA_CONTEXT_MIB
        seconds += _START_SECONDS
    # Of a text model tokens are counted, which say nothing about requests.
    per_second = None if held else _slowest(models)
    processors = settings.processors or threads + 1
    return Sizing(
        threads=threads,
        processor_millis=min(1000 * threads - 500, 1000 * processors),
        processors=processors,
        memory_mib=settings.memory_mib or -(-memory // _STEP_MIB) * _STEP_MIB,
        tmp_mib=TMP_MIB,
        replicas=settings.replicas_minimum or (1 if accelerator else 2),
        autoscaling=None if accelerator else _autoscaling(settings),
        startup_period=_PROBE_PERIOD_SECONDS,
        startup_tries=-(-seconds // _PROBE_PERIOD_SECONDS),
        per_second=per_second,
        waiting=max(1, round(per_second * _WAIT_SECONDS)) if per_second is not None else 2,
        memory_set=settings.memory_mib is not None,
    )


def _slowest(models: Sequence[OptimizedModel]) -> float | None:
    """The least of the measured rates; None when one was not measured."""
    measured = [model.chosen.measurement for model in models]
    rates = [one.throughput_per_s for one in measured if one]
    return min(rates) if len(rates) == len(measured) else None


def _autoscaling(settings: Settings) -> Autoscaling:
    """Two for a node that fails, ten times that for a surge; one bound that is set moves both."""
    least = settings.replicas_minimum or min(2, settings.replicas_maximum or 2)
    return Autoscaling(least, settings.replicas_maximum or least * _SURGE, 70)
