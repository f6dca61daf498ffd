"""Models: the source, its signature, the candidates that the optimizer tried, and the choice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from packager.digest import Digest
from packager.domain.generation import GenerationSettings
from packager.domain.hardware import Precision


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `datatype` in Open Inference Protocol words (FP32, INT64, BYTES).

    `shape` has one entry a dimension: a size, or -1 where it is free.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_dict(self) -> dict[str, object]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model: `name` is relative to the model's folder; size in bytes."""

    name: str
    path: Path
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Model:
    """An ONNX model on disk with its signature; `files[0]` is the graph, others external data.

    `operators` are the names of its operator types, subgraphs included; empty when nobody looked.
    """

    files: tuple[ModelFile, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    precision: Precision
    operators: frozenset[str] = frozenset()

    @property
    def digest(self) -> Digest:
        """One digest for all files: SHA-256 over sorted `sha256sum` lines."""
        lines = sorted(f"{file.digest.hex}  {file.name}\n" for file in self.files)
        return Digest.of("".join(lines).encode())

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Metric(StrEnum):
    """How an optimized model is compared with its source."""

    TOP1_AGREEMENT = "top1_agreement"
    COSINE = "cosine"
    SQNR = "sqnr"
    MAX_ABS = "max_abs"
    TASK = "task"
    GREEDY_AGREEMENT = "greedy_agreement"

    @property
    def smaller_is_better(self) -> bool:
        """Whether the budget is a bound from above: an error, or what a task may lose."""
        return self in (Metric.MAX_ABS, Metric.TASK)

    @property
    def perfect(self) -> float:
        """What the source's own answer gets; of SQNR, in decibels, the most that is told."""
        if self is Metric.SQNR:
            return 200.0
        return 0.0 if self.smaller_is_better else 1.0


class Objective(StrEnum):
    """What the optimizer looks for among the candidates within the quality budget."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    SIZE = "size"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class QualityBudget:
    """What optimization may spend: agreement, cosine and sqnr `at_least`, max_abs and the loss of a
    task `at_most` `bound`. A task's metric is the file with digest `plugin`, held against `labels`.
    """

    metric: Metric = Metric.TOP1_AGREEMENT
    bound: float = 0.99
    plugin: Digest | None = None
    labels: Digest | None = None


@dataclass(frozen=True, slots=True)
class TaskFiles:
    """The user's own metric: a Python file with `score(outputs, labels)`, and an .npz file whose
    arrays have a label for each sample on their first axis."""

    plugin: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a candidate must keep to, whatever the objective; None where the release says nothing.

    `p99_ms` at batch 1, `max_size` in bytes of all files, `min_qps` in inferences a second.
    """

    p99_ms: float | None = None
    max_size: int | None = None
    min_qps: float | None = None


NO_CONSTRAINTS = Constraints()


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of one candidate, rounded. Milliseconds, inferences per second, ratio to baseline;
    the ratios are None where a site timed the candidate without its source.

    `threads` and `batch` are those that serve the objective best; `load_ms` is the time to open the
    model, `resident_bytes` what that added to the process's memory; `spread` half of the 95 %
    interval of the ratio, as a share of it.
    """

    latency_p50_ms: float
    latency_p99_ms: float
    throughput_per_s: float
    speedup: float | None
    threads: int = 1
    batch: int = 1
    latency_speedup: float | None = 1.0
    throughput_speedup: float | None = 1.0
    load_ms: float | None = None
    resident_bytes: int | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the profile's datasheet lets one expect of a candidate; never measured.

    `operations` of one inference (`operations_whole`: none were left out), `latency_floor_ms` by
    roofline at batch 1, `bound_by` compute or memory; `energy_j` an inference at the profile's full
    power; `cost_usd_per_million` inferences from low to high price.
    """

    operations: int | None
    operations_whole: bool
    latency_floor_ms: float | None
    bound_by: str | None
    energy_j: float | None
    cost_usd_per_million: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Batching:
    """The measured choice for the server: rows in a batch (0: none are put together), and how many
    times the throughput of single inferences that gave with the same threads."""

    max_batch_size: int
    gain: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Outcome of the gate: the metric's value on `samples` held-out samples, and its lower (or,
    for max_abs and task, upper) confidence bound. `task` has the mean scores of source and
    candidate, where the value is what the task lost."""

    metric: Metric
    value: float
    bound: float
    samples: int
    task: tuple[float, float] | None = None


class Verdict(StrEnum):
    """What became of a candidate. `outpaced`: one that is proved to keep to the budget is better,
    or as good and less of a change, so not all samples were asked; a look at its quality is known.
    """

    CHOSEN = "chosen"
    ELIGIBLE = "eligible"
    OUTPACED = "outpaced"
    REJECTED = "rejected"
    FAILED = "failed"
    ILLEGAL = "illegal"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the optimizer's table. `reason` says why it was or was not chosen; `notes` what
    speaks for it, what its making told (operators fused, nodes left in FP32) and how it was judged.
    """

    name: str
    precision: Precision
    verdict: Verdict
    reason: str
    passes: tuple[str, ...]
    digest: Digest | None = None
    size: int | None = None
    measurement: Measurement | None = None
    quality: Quality | None = None
    notes: tuple[str, ...] = ()
    estimate: Estimate | None = None
    on_front: bool = False


@dataclass(frozen=True, slots=True)
class SampleUse:
    """What a part of the samples was used for. Only its count and digest travel, unlike golden
    inputs, which the image carries."""

    purpose: str
    count: int
    digest: Digest
    synthetic: bool


@dataclass(frozen=True, slots=True)
class OptimizedModel:
    """The optimizer's answer for one hardware profile.

    `where` tells the machine of the measurement (`measured on …` or `estimated for …`); `golden` is
    an .npz with inputs and the outputs that the runtime must reproduce at start; `intra_op_threads`
    is the measured choice; `hardware` is the profile's id; `samples` tells which samples were used
    for calibration, for the quality gate and as golden ones; `front_axes` are the axes on which the
    Pareto front was drawn; `batching` is None where nothing was measured; `layers` tells for
    tensors of a lossy choice the signal-to-noise ratio against the source, in decibels;
    `accompanying` files lie beside the model for the steps around it; `generation` is how a text
    model is run, None for all others; `held_bytes` is what it holds in memory beside its weights.
    """

    source: Model
    model: Model
    candidates: tuple[Candidate, ...]
    where: str
    golden: Path | None
    intra_op_threads: int
    tools: tuple[tuple[str, str], ...]
    hardware: str = ""
    budget: QualityBudget = QualityBudget()
    objective: Objective = Objective.LATENCY
    samples: tuple[SampleUse, ...] = ()
    constraints: Constraints = NO_CONSTRAINTS
    batching: Batching | None = None
    front_axes: tuple[str, ...] = ()
    layers: tuple[tuple[str, float], ...] = ()
    accompanying: tuple[ModelFile, ...] = ()
    generation: GenerationSettings | None = None
    held_bytes: int = 0

    @property
    def chosen(self) -> Candidate:
        return next(row for row in self.candidates if row.verdict is Verdict.CHOSEN)
