"""Where an image's foreign parts come from, and what is done to them: the caller's choices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packager.content import Compression


@dataclass(frozen=True, slots=True)
class Sources:
    """`mirror` overrides where Debian packages come from, `wheels` is a folder of the user's own.

    `slim` cuts ONNX Runtime's CUDA provider down to the profile's GPU. `compression` is of layers
    without weights; None lets the targets' engines decide.
    """

    mirror: str | None = None
    wheels: Path | None = None
    slim: bool = True
    compression: Compression | None = None
