"""Answers of the optimizer, kept in the cache: an unchanged question costs nothing again.

A question is everything that has a say in the answer: the model and the samples by digest, the
profile, budget and objective, what the record of measurements says about this model and profile,
the versions of all tools, and the text of this package itself. An answer is believed only after
every file of it was hashed again; whatever is wrong with one, it is no answer, and the work is done
anew. Answers in which a process crashed or ran out of time are not kept: that may have been the
machine's doing.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import (
    NO_CONSTRAINTS,
    Constraints,
    Model,
    ModelFile,
    Objective,
    OptimizedModel,
    QualityBudget,
)
from packager.hashed import digest_once
from packager.optimize.measuring import host
from packager.optimize.plain import from_plain, to_plain
from packager.optimize.record import MeasurementRecord
from packager.optimize.tools import tools

ANSWER = "answer.json"
GOLDEN = "golden.npz"
ENTRIES_AT_MOST = 200
BYTES_AT_MOST = 20 << 30
YOUNG_SECONDS = 3600
"""An answer that was asked for within this time is never removed: a build may be reading it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the optimizer is asked; `samples` is the digest of the file, None when there is none."""

    source: Model
    samples: Digest | None
    hardware: HardwareProfile
    quality: QualityBudget
    objective: Objective
    precision: Precision | None
    constraints: Constraints = NO_CONSTRAINTS

    def key(self, record: MeasurementRecord | None) -> Digest:
        """Equal for equal questions in the light of equal measurements."""
        rows = [
            to_plain(row)
            for row in (record.rows if record else ())
            if (row.source, row.hardware) == (self.source.digest, self.hardware.id)
        ]
        asked = {
            "source": [[file.name, file.digest.hex] for file in self.source.files],
            "samples": str(self.samples),
            "hardware": to_plain(self.hardware),
            "quality": to_plain(self.quality),
            "objective": self.objective.value,
            "precision": self.precision.value if self.precision else None,
            "constraints": to_plain(self.constraints),
            "rows": rows,
            "host": host(),
            "tools": [list(tool) for tool in tools()],
            "text": own_text().hex,
        }
        return Digest.of(dumps(asked))


@dataclass(frozen=True, slots=True)
class Memory:
    """The folder of answers."""

    folder: Path

    def recall(self, question: Question, record: MeasurementRecord | None) -> OptimizedModel | None:
        """The answer, its files lying in the cache; None when it is not known."""
        entry = self.folder / question.key(record).hex
        try:
            plain = json.loads((entry / ANSWER).read_bytes())
            digest = plain.pop("golden_digest")
            answer = from_plain(OptimizedModel, plain)
            shipped = _placed(answer.model, question.source, entry)
            golden = entry / GOLDEN if digest else None
            whole = all(digest_once(file.path) == file.digest for file in shipped.files)
            if golden and str(Digest.of_file(golden)) != digest:
                whole = False
            os.utime(entry)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not whole:
            return None
        return replace(answer, source=question.source, model=shipped, golden=golden)

    def keep(self, question: Question, record: MeasurementRecord, answer: OptimizedModel) -> None:
        """Remember the answer to `question`, which `record` now leads to. Never fails the build."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            entry = self.folder / question.key(record).hex
            scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
            try:
                _write(scratch, question, answer)
                shutil.rmtree(entry, ignore_errors=True)
                scratch.rename(entry)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            self._tidy()

    def _tidy(self) -> None:
        """Drop the answers that nobody asked for longest, beyond the bounds."""
        now, room, count = time.time(), BYTES_AT_MOST, ENTRIES_AT_MOST
        entries = sorted(self.folder.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for entry in entries:
            room -= sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())
            count -= 1
            if min(room, count) < 0 and now - entry.stat().st_mtime > YOUNG_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)


def _write(folder: Path, question: Question, answer: OptimizedModel) -> None:
    plain: dict[str, Any] = to_plain(answer)
    plain["golden_digest"] = None
    if answer.golden:
        shutil.copyfile(answer.golden, folder / GOLDEN)
        plain["golden_digest"] = str(Digest.of_file(folder / GOLDEN))
    if answer.model.digest != question.source.digest:
        for file in answer.model.files:
            target = folder / "model" / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.path, target)
    (folder / ANSWER).write_bytes(dumps(plain))


def _placed(model: Model, source: Model, entry: Path) -> Model:
    """The model with its files where they are now; the source's own when that was chosen."""
    if model.digest == source.digest:
        return source
    return replace(model, files=tuple(_inside(file, entry / "model") for file in model.files))


def _inside(file: ModelFile, folder: Path) -> ModelFile:
    if Path(file.name).is_absolute() or ".." in Path(file.name).parts:
        raise ValueError(file.name)
    return replace(file, path=folder / file.name)


@cache
def own_text() -> Digest:
    """One digest for the code that answers: a changed rule is another question."""
    package = Path(__file__).parent
    files: Iterable[Path] = (*package.glob("*.py"), *(package.parent / "domain").glob("*.py"))
    return Digest.of_chunks(file.read_bytes() for file in sorted(files))
