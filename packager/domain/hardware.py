"""Hardware profiles: what a machine is, and how ONNX Runtime drives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from packager.domain.artifact import Platform


class Precision(StrEnum):
    """Number formats of weights and activations."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"


class Proof(StrEnum):
    """How far we have seen a profile work. Never more than was shown."""

    NEVER = "never"
    ASSEMBLED = "assembled"
    STARTED = "started"
    MEASURED = "measured"


class Confidence(StrEnum):
    """How sure a fact is. `memory` is a fact that was written down without looking it up."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Wheel:
    """The Python distribution that brings the execution provider, pinned to one version."""

    name: str
    version: str


NO_WHEEL = Wheel("none", "0")
"""The wheel of a profile that says why there is none (`unpackaged`)."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A device beside the CPU. Memory in bytes, power in watts."""

    vendor: str
    product: str
    compute_capability: str | None
    driver_floor: str | None
    cuda: str | None
    kubernetes_resource: str | None
    runtime_class: str | None


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """One file of `targets/hardware/`.

    `precisions` maps each number format that the device computes in to its peak rate in tera-
    operations per second (None where no figure is known); `memory_gb` and `bandwidth_gb_s` in
    decimal gigabytes; `instructions` are CPU features that the optimizer may count on.
    `export_class` is computed from datasheet figures and is no legal classification. `unpackaged`
    says why no image can be made for the device, None where one can.
    """

    id: str
    name: str
    platform: Platform
    execution_provider: str
    wheel: Wheel
    precisions: Mapping[Precision, float | None]
    memory_gb: float
    bandwidth_gb_s: float | None
    instructions: frozenset[str]
    accelerator: Accelerator | None
    node_labels: Mapping[str, str]
    deployment_platforms: frozenset[str]
    power_w: float | None
    price_class: str | None
    export_class: str | None
    proven: Proof
    proven_where: str | None
    confidence: Confidence
    sources: tuple[str, ...]
    unpackaged: str | None = None
