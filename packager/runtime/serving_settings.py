"""What `server.json` says of the steps around a model: texts and images in, meaning out."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeVar

from .reading import Reader

_Choice = TypeVar("_Choice", bound=StrEnum)


class Task(StrEnum):
    """What a client may send, and what comes back."""

    EMBEDDINGS = "embeddings"
    TEXT_CLASSIFICATION = "text-classification"
    IMAGE_CLASSIFICATION = "image-classification"


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    MEAN = "mean"
    FIRST = "first"
    NONE = "none"


class TokenizerSettings(NamedTuple):
    """A `tokenizer.json` by its path, and the most tokens of a text; the rest is cut off."""

    path: str
    max_tokens: int


class ImageSettings(NamedTuple):
    """The size that the model takes; pixels go to 0…1, then `(x - mean) / std` by channel."""

    width: int
    height: int
    channels_first: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Serving(NamedTuple):
    """The steps of one model; `output` is the tensor looked at, None for the first one."""

    task: Task
    tokenizer: TokenizerSettings | None
    image: ImageSettings | None
    pooling: Pooling
    normalize: bool
    labels: tuple[str, ...]
    output: str | None


def read_serving(model: Reader) -> Serving | None:
    """The section `serving` of a model; it may be missing."""
    if not model.has("serving"):
        return None
    reader = model.at("serving")
    reader.only("task", optional=("tokenizer", "image", "pooling", "normalize", "labels", "output"))
    task = _one_of(reader, "task", Task)
    tokenizer = _tokenizer(reader.at("tokenizer")) if reader.has("tokenizer") else None
    image = _image(reader.at("image")) if reader.has("image") else None
    if task is Task.IMAGE_CLASSIFICATION and image is None:
        raise reader.at("image").wrong("is what the task needs")
    if task is not Task.IMAGE_CLASSIFICATION and tokenizer is None:
        raise reader.at("tokenizer").wrong("is what the task needs")
    output = reader.at("output")
    return Serving(
        task=task,
        tokenizer=tokenizer,
        image=image,
        pooling=_one_of(reader, "pooling", Pooling) if reader.has("pooling") else Pooling.MEAN,
        normalize=reader.flag("normalize", True),
        labels=tuple(entry.as_text() for entry in reader.entries("labels"))
        if reader.has("labels")
        else (),
        output=output.as_text() if reader.has("output") and output.value is not None else None,
    )


def _one_of(reader: Reader, key: str, kind: type[_Choice]) -> _Choice:
    text = reader.text(key)
    if text not in list(kind):
        raise reader.at(key).wrong(f"must be one of {', '.join(kind)}")
    return kind(text)


def _tokenizer(reader: Reader) -> TokenizerSettings:
    reader.only("path", "max_tokens")
    return TokenizerSettings(
        reader.at("path").relative_path(), reader.integer("max_tokens", 1, 1 << 17)
    )


def _image(reader: Reader) -> ImageSettings:
    reader.only("width", "height", "channels_first", "mean", "std")
    numbers = {}
    for key in ("mean", "std"):
        entries = reader.entries(key)
        if len(entries) != 3 or any(type(entry.value) not in (int, float) for entry in entries):
            raise reader.at(key).wrong("must be three numbers")
        numbers[key] = tuple(float(entry.value) for entry in entries)
    if 0.0 in numbers["std"]:
        raise reader.at("std").wrong("must not hold 0")
    return ImageSettings(
        width=reader.integer("width", 1, 1 << 14),
        height=reader.integer("height", 1, 1 << 14),
        channels_first=reader.flag("channels_first", True),
        mean=numbers["mean"],
        std=numbers["std"],
    )
