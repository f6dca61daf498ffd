"""Images into tensors: decoded within bounds, turned upright, cut to the middle, scaled.

Decoding is Pillow's. Only formats that are asked for are opened, and an image whose head announces
more pixels than anybody needs is refused before a pixel is decoded.
"""

from __future__ import annotations

import io

import numpy as np

from .configuration import ModelSettings
from .datatypes import Array
from .errors import ExitCode, Refusal, RequestError
from .serving_settings import ImageSettings

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_MOST_PIXELS = 64_000_000


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
        self._image = image
        self._name = settings.inputs[0].name
        self._mean = np.array(image.mean, np.float32)
        self._std = np.array(image.std, np.float32)

    def inputs(self, images: list[bytes]) -> dict[str, Array]:
        """FP32 of [images, 3, height, width], or with channels last; raises RequestError (400)."""
        return {self._name: np.stack([self._pixels(data) for data in images])}

    def _pixels(self, data: bytes) -> Array:
        try:
            with self._open(io.BytesIO(data), formats=_FORMATS) as opened:
                if opened.width * opened.height > _MOST_PIXELS:
                    raise RequestError(413, f"the image has more than {_MOST_PIXELS} pixels")
                upright = self._upright(opened).convert("RGB")
                fitted = self._fit(upright, (self._image.width, self._image.height))
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
