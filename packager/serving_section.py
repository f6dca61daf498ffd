"""Reads the sections `server:`, `serving:` and `generation:` of release.yaml."""

from __future__ import annotations

from pathlib import Path

from packager.domain.generation import ModelKind
from packager.domain.model_request import ModelRequest
from packager.domain.serving import Picture, Pooling, Serving, Steps, Task
from packager.generation_section import read_generation
from packager.section import Section

_MOST_TOKENS = 1 << 17
_MOST_PIXELS = 1 << 14


def read_serving(root: Section, kind: ModelKind, model: ModelRequest) -> Serving:
    """What the server does beyond tensors, for the release's first model, noting what is wrong."""
    server = root.section("server")
    grpc = server.flag("grpc", False)
    if grpc and kind is ModelKind.GENERATIVE:
        server.note("grpc", "text is generated over HTTP only", next_step="remove server.grpc")
    return Serving(grpc, model.steps, read_generation(root, kind, model.path))


def read_steps(section: Section, folder: Path) -> Steps:
    """The steps around a model; paths are relative to `folder`."""
    task = section.choice("task", Task)
    tokenizer = section.optional_text("tokenizer")
    picture = _picture(section.section("image")) if "image" in section else None
    if task is Task.IMAGE_CLASSIFICATION and picture is None:
        section.note("image", "the task needs to know what images the model takes")
    if task is not Task.IMAGE_CLASSIFICATION and tokenizer is None:
        section.note(
            "tokenizer", "the task needs a tokenizer", expected="the path of a tokenizer.json"
        )
    return Steps(
        task=task,
        tokenizer=folder / tokenizer if tokenizer else None,
        max_tokens=_whole(section, "max_tokens", 512, _MOST_TOKENS),
        pooling=section.choice("pooling", Pooling, Pooling.MEAN),
        normalize=section.flag("normalize", True),
        labels=section.texts("labels"),
        picture=picture,
        output=section.optional_text("output"),
    )


def _picture(section: Section) -> Picture:
    usual = Picture(1, 1)
    layout = section.text("layout", "NCHW")
    if layout not in ("NCHW", "NHWC"):
        section.note("layout", "not a layout of images", expected="NCHW or NHWC", got=layout)
    return Picture(
        width=_whole(section, "width", None, _MOST_PIXELS),
        height=_whole(section, "height", None, _MOST_PIXELS),
        channels_first=layout == "NCHW",
        mean=_three(section, "mean", usual.mean),
        std=_three(section, "std", usual.std),
    )


def _three(section: Section, key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    texts = section.texts(key)
    if not texts:
        return usual
    try:
        found = tuple(float(text) for text in texts)
    except ValueError:
        found = ()
    if len(found) != 3 or (key == "std" and 0 in found):
        section.note(key, "one number for each of red, green and blue", got=", ".join(texts))
        return usual
    return found


def _whole(section: Section, key: str, usual: int | None, most: int) -> int:
    value = section.number(key) if usual is None else section.number(key, usual)
    if value != int(value) or not 1 <= value <= most:
        section.note(
            key, "not a size", expected=f"a whole number from 1 to {most}", got=f"{value:g}"
        )
        return 1
    return int(value)
