"""What the server does beyond tensors: gRPC, and steps before and after the model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from packager.domain.generation import CPU, Generation

GRPC, IMAGE, TEXT = "grpc", "image", "text"
GENERATION, GRAMMAR, GENAI = "generation", "grammar", "genai"


class Task(StrEnum):
    """What a client may send in words of its own: a text or an image, and what comes back."""

    EMBEDDINGS = "embeddings"
    TEXT_CLASSIFICATION = "text-classification"
    IMAGE_CLASSIFICATION = "image-classification"


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    MEAN = "mean"
    FIRST = "first"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Picture:
    """How an image becomes a tensor: FP32 of `[N, 3, height, width]`, or `[N, height, width, 3]`.

    Pixels are scaled to 0…1, then `(x - mean) / std` for each channel.
    """

    width: int
    height: int
    channels_first: bool = True
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps around the model. `tokenizer` is a `tokenizer.json`; `labels` by class number;
    `output` names the tensor that is looked at, None for the model's first one."""

    task: Task
    tokenizer: Path | None = None
    max_tokens: int = 512
    pooling: Pooling = Pooling.MEAN
    normalize: bool = True
    labels: tuple[str, ...] = ()
    picture: Picture | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """The sections `server:`, `serving:` and `generation:` of release.yaml; only a generative model
    has the last one."""

    grpc: bool = False
    steps: Steps | None = None
    generation: Generation | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """What the server needs further wheels for, sorted."""
        found = {GRPC} if self.grpc else set()
        if self.steps and self.steps.tokenizer:
            found.add(TEXT)
        if self.steps and self.steps.picture:
            found.add(IMAGE)
        if self.generation:
            found.add(GENERATION)
        if self.generation and self.generation.grammars:
            found.add(GRAMMAR)
        if self.generation and self.generation.engine_on(CPU).of_library:
            found.add(GENAI)
        return tuple(sorted(found))
