"""Images as tensors: upright whatever the camera held, and never more memory than was reckoned."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from packager.runtime.configuration import ModelSettings
from packager.runtime.datatypes import DATATYPES, TensorSpec
from packager.runtime.errors import RequestError
from packager.runtime.images import Images
from packager.runtime.serving_settings import ImageSettings

ORIENTATION = 274
# The most that decoding one image may add to a process, in MB; see `packager.render.sizing`.
MOST_MB = 300


def images(width: int = 64, height: int = 48) -> Images:
    shape = (-1, 3, height, width)
    inputs = (TensorSpec("image", DATATYPES["FP32"], shape),)
    settings = ModelSettings(
        "m", "1", "m.onnx", (), inputs, (), "CPUExecutionProvider", {}, 0, None
    )
    return Images(settings, ImageSettings(width, height, True, (0.0,) * 3, (1.0,) * 3))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_is_turned_late_is_as_if_it_was_turned_first(orientation: int, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(noise).convert(mode), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    expected = np.asarray(ImageOps.fit(upright, (64, 48)), np.float32).transpose(2, 0, 1) / 255
    (found,) = images().inputs([data])["image"]
    assert np.abs(found - expected).max() <= 1.01 / 255  # scaled in the other order first


@pytest.mark.parametrize(
    ("kind", "side", "status"),
    [("PNG", 4097, 413), ("WEBP", 4097, 413), ("GIF", 4097, 413), ("JPEG", 8001, 413)],
)
def test_more_pixels_than_are_decoded(kind: str, side: int, status: int) -> None:
    with pytest.raises(RequestError, match="pixels") as refused:
        images().inputs([saved(Image.new("L", (side, side)), kind)])
    assert refused.value.status == status


WEIGHED = """
import sys
sys.path[:0] = {path!r}
from test_images import images

def most():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])
made, data = images(), open({file!r}, "rb").read()
before = most()
made.inputs([data])
print((most() - before) / 1024)
"""


@pytest.mark.parametrize(
    ("kind", "side", "options"),
    [
        ("WEBP", 4096, {}),
        ("PNG", 4096, {}),
        ("JPEG", 7999, {}),
        ("JPEG", 7999, {"progressive": True}),
    ],
)
def test_the_largest_images_fit_into_the_memory_that_is_reckoned(
    tmp_path: Any, kind: str, side: int, options: dict[str, Any]
) -> None:
    """A small file may be a large image: a megabyte of JPEG was 735 MB."""
    file = tmp_path / "image"
    mode = "RGBA" if kind == "PNG" else "RGB"
    file.write_bytes(saved(Image.new(mode, (side, side)), kind, **options))
    path = [str(Path(__file__).parent), *(entry for entry in sys.path if entry)]
    code = WEIGHED.format(path=path, file=str(file))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(told.stdout) < MOST_MB


def test_many_images_are_decoded_a_few_at_a_time() -> None:
    few = images(224, 224).pieces(2048)
    assert [place for places in few for place in places] == list(range(2048))
    assert max(len(places) for places in few) * 3 * 224 * 224 <= 1 << 23
    assert images(4096, 4096).pieces(2) == [range(1), range(1, 2)]
