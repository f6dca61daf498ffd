"""What goes into an engine of text and what comes out of it, whoever's engine it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from .sampling import Chosen, SamplingSettings

Array = np.ndarray[Any, Any]


class Finish(StrEnum):
    """Why an answer ended: the model's own end, the length asked for, or the grammar's end."""

    STOP = "stop"
    LENGTH = "length"


class Constraint(Protocol):
    """What an answer must look like."""

    def allowed(self) -> Array | None:
        """A mask of the vocabulary for the next token; None when anything may follow."""

    def took(self, token: int) -> bool:
        """The token was said; whether the answer is complete with it."""


class Decoder(Protocol):
    """What holds the caches of `slots` conversations of `slot_tokens` each and runs the graph;
    `lengths[slot]` tokens were read by each."""

    slots: int
    slot_tokens: int
    lengths: list[int]

    def back_to(self, slot: int, length: int) -> None:
        """Forget what a slot read behind its first `length` tokens."""

    def read(self, slot: int, tokens: Sequence[int]) -> Array:
        """Append tokens to a slot; the logits after each of them, `[tokens, vocabulary]`."""

    def begin(self, prompts: Mapping[int, Sequence[int]]) -> dict[int, Array]:
        """Read whole prompts into empty slots that lie side by side; the logits after the last
        token of each by slot."""

    def step(self, tokens: Mapping[int, int]) -> dict[int, Array]:
        """Append one token to each of several slots; the logits after it by slot, which are good
        until the next step."""


class TextEngine(Protocol):
    """What the worker steps: packager's engine, or an adapter of the library's."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""

    def submit(self, job: Job) -> None:
        """Raises ValueError for a job that cannot be done here, in words for whoever asked."""

    def cancel(self, job: int) -> None:
        """Forget a job; it has no further events."""

    def step(self) -> list[Event]:
        """One step; its events are in no particular order."""

    def stats(self) -> dict[str, float]:
        """The figures that `/metrics` tells."""


@dataclass(frozen=True, slots=True)
class Job:
    """A conversation to continue: tokens to read, and at most `max_tokens` to say.

    `tenant` is whose it is: prefixes are never reused between tenants. `ignore_end` goes on past
    the model's own end, for measurements. `grammar` is for an engine with grammars of its own,
    `constraint` for one that asks for the tokens that may follow.
    """

    id: int
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    tenant: str = ""
    constraint: Constraint | None = None
    ignore_end: bool = False
    grammar: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What came of a step for one job: tokens, and the end when it came. `cached` prompt tokens
    were not read again. `failed` is an end without an answer."""

    job: int
    chosen: tuple[Chosen, ...]
    finish: Finish | None
    cached: int
    failed: str | None = None


def check_size(job: Job, slot_tokens: int) -> None:
    """Raises ValueError for a job that no slot could hold."""
    if not job.prompt:
        raise ValueError("the prompt has no tokens")
    if len(job.prompt) + job.max_tokens > slot_tokens:
        raise ValueError(
            f"{len(job.prompt)} tokens of prompt and {job.max_tokens} of answer are more than"
            f" the {slot_tokens} that a slot holds"
        )
