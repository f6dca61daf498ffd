"""Which way up is a line of text: rapidocr's angle classifier (MobileNetV3), on lines of real
sentences set in the fonts that Pillow and this machine have, half of them upside down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.optimize.cases import Case, Figures, answers, labelled, losing_at_most
from benchmarks.optimize.cases.text import sentences

HEIGHT, WIDTH, SEEN, UNSEEN = 48, 192, 1500, 500
METRIC = """
def score(outputs, labels):
    (found,) = outputs.values()
    return found.reshape(len(labels["turned"]), 2).argmax(-1) == labels["turned"]
"""


def angle(model: Path, folder: Path) -> Case:
    """`model`: the ONNX file of the wheel rapidocr-onnxruntime."""
    folder.mkdir()
    images, turned = lines(SEEN + UNSEEN)
    np.savez(folder / "samples.npz", x=images[:SEEN])
    files = labelled(folder, METRIC, {"turned": turned[:SEEN]})
    held, truth = images[SEEN:], turned[SEEN:]

    def task(graph: Path) -> Figures:
        right = answers(graph, {"x": held}).argmax(-1) == truth
        return {f"angle right, of {len(truth)} lines": round(float(right.mean()), 4)}

    return Case("angle", model, folder / "samples.npz", losing_at_most(0.02), task, files)


def lines(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, 3, 48, 192] as the classifier takes them, and which of them are turned."""
    random = np.random.RandomState(8)
    texts, fonts = list(sentences()), faces()
    images = np.zeros((count, 3, HEIGHT, WIDTH), np.float32)
    turned = random.randint(0, 2, count)
    for index in range(count):
        words = texts[random.randint(len(texts))].split()
        start = random.randint(max(1, len(words) - 3))
        text = " ".join(words[start : start + random.randint(2, 5)])
        page = drawn(text, fonts[random.randint(len(fonts))], random)
        if turned[index]:
            page = page.rotate(180)
        width = min(WIDTH, round(page.width * HEIGHT / page.height))
        pixels = np.asarray(page.resize((width, HEIGHT)), np.float32).transpose(2, 0, 1)
        noise = random.standard_normal(pixels.shape) * random.uniform(0, 12)
        images[index, :, :, :width] = (pixels + noise) / 127.5 - 1
    return images, turned.astype(np.int64)


def drawn(text: str, face: str | None, random: np.random.RandomState) -> Image.Image:
    """Dark on bright or the other way round, cut to the line, a little tilted."""
    size = int(random.randint(24, 44))
    font = ImageFont.truetype(face, size) if face else ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    ink, paper = random.randint(0, 90, 3), random.randint(160, 256, 3)
    if random.rand() < 0.3:
        ink, paper = paper, ink
    page = Image.new(
        "RGB", (int(right - left) + 12, int(bottom - top) + 12), tuple(map(int, paper))
    )
    ImageDraw.Draw(page).text((6 - left, 6 - top), text, font=font, fill=tuple(map(int, ink)))
    tilt = random.uniform(-2, 2)
    return page.rotate(tilt, Image.Resampling.BILINEAR, fillcolor=tuple(map(int, paper)))


def faces() -> list[str | None]:
    """Font files of this machine, or Pillow's own alone."""
    found = sorted(Path("/usr/share/fonts").glob("**/DejaVu*.ttf"))
    return [None, *(str(one) for one in found if "Math" not in one.name)]
