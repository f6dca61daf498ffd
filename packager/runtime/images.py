"""Images into tensors: decoded within bounds, turned upright, cut to the middle, scaled.

Decoding is Pillow's. Only formats that are asked for are opened, and an image whose head announces
more pixels than anybody needs is refused before a pixel is decoded.
"""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from .configuration import ModelSettings
from .datatypes import Array
from .errors import ExitCode, Refusal, RequestError
from .serving_settings import ImageSettings

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
# Decoding takes up to 16 bytes a pixel (WebP, measured), so that this is 256 MB. JPEG's decoder can
# leave pixels out, so that its images may be larger.
_MOST_PIXELS = 1 << 24
_MOST_JPEG_PIXELS = 64_000_000
_LARGE_PIXELS = 1 << 22
# EXIF's tag 274, and the first of its values that change width and height for each other.
_ORIENTATION, _LYING = 274, 5
_MOST_VALUES = 1 << 23


class Images:
    """Makes a model's input of images; from several threads at once."""

    def __init__(self, settings: ModelSettings, image: ImageSettings) -> None:
        try:
            import PIL.Image
            import PIL.ImageOps
        except ImportError as error:
            raise Refusal(
                ExitCode.CONFIGURATION, f"{settings}: images need the library pillow"
            ) from error
        if len(settings.inputs) != 1 or settings.inputs[0].datatype.name != "FP32":
            raise Refusal(
                ExitCode.CONFIGURATION, f"{settings}: a model of images has one input, of FP32"
            )
        self._open, self._fit = PIL.Image.open, PIL.ImageOps.fit
        self._upright = PIL.ImageOps.exif_transpose
        self._large = threading.Lock()
        self._image = image
        self._name = settings.inputs[0].name
        self._mean = np.array(image.mean, np.float32)
        self._std = np.array(image.std, np.float32)

    def pieces(self, count: int) -> list[range]:
        """So many images, as many at a time as are decoded for one run of the model."""
        most = max(1, _MOST_VALUES // (3 * self._image.width * self._image.height))
        return [range(first, min(first + most, count)) for first in range(0, count, most)]

    def inputs(self, images: list[bytes]) -> dict[str, Array]:
        """FP32 of [images, 3, height, width], or with channels last; raises RequestError (400)."""
        return {self._name: np.stack([self._pixels(data) for data in images])}

    def _pixels(self, data: bytes) -> Array:
        try:
            with self._open(io.BytesIO(data), formats=_FORMATS) as opened:
                pixels = opened.width * opened.height
                most = _MOST_JPEG_PIXELS if opened.format == "JPEG" else _MOST_PIXELS
                if pixels > most:
                    raise RequestError(413, f"the image has more than {most} pixels")
                # One large image is decoded at a time, whoever sent it.
                with self._large if pixels > _LARGE_PIXELS else nullcontext():
                    fitted = self._fitted(opened)
        except RequestError:
            raise
        except Exception as error:
            # Pillow raises what its decoders raise; all of it means one thing to the client.
            raise RequestError(
                400, f"this is no image that can be read; known are {', '.join(_FORMATS)}"
            ) from error
        scaled = (np.asarray(fitted, np.float32) / 255 - self._mean) / self._std
        return np.ascontiguousarray(
            scaled.transpose(2, 0, 1) if self._image.channels_first else scaled
        )

    def _fitted(self, opened: Image) -> Image:
        """In RGB and of the model's size; only then turned upright, so that nothing large is."""
        size = (self._image.width, self._image.height)
        if opened.width * opened.height > _MOST_PIXELS:
            opened.draft("RGB", (2 * max(size), 2 * max(size)))
        lying = opened.getexif().get(_ORIENTATION, 1) >= _LYING
        whole = opened if opened.mode == "RGB" else opened.convert("RGB")
        return self._upright(self._fit(whole, size[::-1] if lying else size))
