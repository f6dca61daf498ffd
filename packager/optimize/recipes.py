"""A candidate before it is made: what to do, or why not to."""

from __future__ import annotations

from dataclasses import dataclass

from packager.domain.hardware import Precision

SOURCE = "source"
TWIN = "emulated.onnx"
"""The file beside an emulated candidate on which its quality is judged (`half_precision`)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One transformation with its parameters, as the worker runs it and as evidence tells it."""

    name: str
    parameters: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={_word(value)}" for key, value in self.parameters)
        return f"{self.name}({inside})"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate to make. `why` says what speaks for it on this hardware.

    `lossless`: its outputs differ by rounding alone. `emulated`: the provider's arithmetic is not
    this machine's, so that quality is judged on a twin that rounds every value as the target does.
    """

    name: str
    precision: Precision
    lossless: bool
    passes: tuple[Pass, ...] = ()
    needs_calibration: bool = False
    emulated: bool = False
    why: str = ""
    keeps_speed: str = ""
    """Why it cannot be faster than the source, where that is known of its making: it is made only
    where as fast as the source is fast enough to be the choice."""

    @property
    def computes_in_fp32(self) -> bool:
        """Whether only what is stored is small: weights become FP32 again before they are used."""
        return any(step.name in ("store_half", "block_weights") for step in self.passes)


@dataclass(frozen=True, slots=True)
class Illegal:
    """A candidate that must not be made for this hardware, and why."""

    name: str
    precision: Precision
    reason: str


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
