"""The device that an image is cut for: what examining and layering must know of the hardware."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from packager.assemble.gpu_libraries import families
from packager.domain.hardware import HardwareProfile
from packager.domain.lock import LockedEnvironment


@dataclass(frozen=True, slots=True)
class Device:
    """`capability` as `8.9`, None beside CUDA; `libraries` are families of GPU libraries. With
    `genai` it is ONNX Runtime GenAI that runs the model, by ONNX Runtime's C library."""

    capability: str | None = None
    libraries: frozenset[str] = frozenset()
    slimmed: bool = True
    genai: bool = False

    @classmethod
    def of(
        cls,
        hardware: HardwareProfile,
        environment: LockedEnvironment,
        operators: Collection[str],
        *,
        slimmed: bool,
    ) -> Device:
        """For a profile, what its environment locks, and the operators of the models."""
        chosen = families(environment, operators)
        accelerator = hardware.accelerator
        capability = accelerator.compute_capability if accelerator and chosen else None
        genai = any(wheel.name.startswith("onnxruntime-genai") for wheel in environment.wheels)
        return cls(capability, chosen, slimmed and capability is not None, genai)

    def as_list(self) -> list[object]:
        """For keys: whatever changes the bytes of a layer."""
        told: list[object] = [self.capability, sorted(self.libraries), self.slimmed]
        return [*told, "genai"] if self.genai else told
