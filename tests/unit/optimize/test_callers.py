"""Whether batches pay is what eight callers got, and not what a stop-watch promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packager.digest import Digest
from packager.domain.hardware import HardwareProfile
from packager.domain.model import Batching, Objective
from packager.optimize import callers
from packager.optimize.processes import Failure
from packager.optimize.record import Figures, MeasurementRecord, Row
from packager.optimize.record_file import read_record, record_bytes
from packager.optimize.stopwatch import Stopwatch
from packager.progress import SILENT
from tests.unit.optimize.test_stopwatch import _model, _Workshop


class _Session:
    """An engine whose batch costs `start` seconds and `row` seconds for each of its rows."""

    def __init__(self, start: float, row: float) -> None:
        self.start, self.row = start, row
        self.sizes: set[int] = set()

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        count = len(feed["x"])
        self.sizes.add(count)
        callers.time.sleep(self.start + self.row * count)
        return [feed["x"]]


def test_a_batch_forms_of_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never of more than there are callers; alone each row runs by itself."""
    session = _Session(20e-3, 0.0)
    monkeypatch.setattr(callers, "open_session", lambda *_: session)
    monkeypatch.setattr(callers, "SECONDS", 0.2)
    monkeypatch.setattr(callers, "ROUNDS", 3)
    feeds = [{"x": np.zeros((1, 2), np.float32)}] * 3
    told = callers.gain_of_batches(Path(), feeds, threads=64, batch=16)
    assert told["least"] <= told["gain"]
    assert told["gain"] > 0
    assert 1 in session.sizes
    assert 1 < max(session.sizes) <= callers.CALLERS


def test_a_model_that_takes_no_batches_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(_Session):
        def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            if len(feed["x"]) > 1 and self.sizes:
                raise RuntimeError("one row at a time")
            return super().run(None, feed)

    monkeypatch.setattr(callers, "open_session", lambda *_: Stubborn(1e-3, 0.0))
    feeds = [{"x": np.zeros((1, 2), np.float32)}]
    with pytest.raises(RuntimeError, match="one row at a time"):
        callers.gain_of_batches(Path(), feeds, threads=1, batch=4)


def test_the_least_of_what_was_gained_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {1: iter([100.0] * 15), 16: iter([*[90.0] * 3, *[160.0] * 4, *[170.0] * 8])}
    monkeypatch.setattr(callers, "open_session", lambda *_: _Session(0.0, 0.0))
    monkeypatch.setattr(callers, "_rate", lambda *given: next(rates[given[-1]]))
    feeds = [{"x": np.zeros((1, 2), np.float32)}]
    assert callers.gain_of_batches(Path(), feeds, 1, 16) == {"gain": 1.7, "least": 1.6}


def test_a_sure_loss_ends_early_and_a_gain_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def rate(*given: object) -> float:
        asked.append(int(str(given[-1])))
        return slow if given[-1] == 16 else 100.0

    monkeypatch.setattr(callers, "open_session", lambda *_: _Session(0.0, 0.0))
    monkeypatch.setattr(callers, "_rate", rate)
    feeds = [{"x": np.zeros((1, 2), np.float32)}]
    for slow, rounds in ((90.0, callers.CLEAR_FROM), (115.0, callers.ROUNDS)):
        asked.clear()
        told = callers.gain_of_batches(Path(), feeds, 1, 16)
        assert told["gain"] == slow / 100
        assert len(asked) == 2 * rounds


def _timed(least: float | None, cpu: HardwareProfile) -> tuple[Row, list[str]]:
    """A candidate of which 16 rows took as long as four alone, after the callers were asked."""
    workshop, asked = _Workshop(), []

    def do(_: str, task: dict, __: Path) -> dict | Failure:
        asked.append(task["task"])
        return Failure("SIGSEGV") if least is None else {"gain": 2.0, "least": least}

    workshop.do = do  # type: ignore[method-assign]
    one = Figures(1, 1, 15, 10.0, 10.0, 100.0, 2.0, 2.0, 0.01)
    figures = (one, replace(one, batch=16, throughput_per_s=400.0))
    row = Row(Digest.of(b"s"), Digest.of(b"c"), cpu.id, "here", figures)
    watch = Stopwatch(workshop, cpu, MeasurementRecord(), SILENT)  # type: ignore[arg-type]
    watch.models["c"], watch.own["c"] = _model("c"), row
    watch.ask_callers("c", Objective.LATENCY)
    assert asked == [], "what was not timed here and now is as its record says"
    assert row.batching(1) == Batching(16, 4.0)
    watch.timed.add("c")
    watch.ask_callers("c", Objective.LATENCY)
    watch.ask_callers("c", Objective.LATENCY)
    return watch.own["c"], asked


@pytest.mark.parametrize(
    ("least", "told"),
    [(1.8, Batching(16, 1.8)), (0.94, Batching(0, 0.94)), (None, Batching(0, 0.0))],
)
def test_callers_have_the_last_word_and_the_record_keeps_it(
    least: float | None, told: Batching, cpu: HardwareProfile, tmp_path: Path
) -> None:
    row, asked = _timed(least, cpu)
    assert asked == ["callers"]
    assert row.batching(1) == told
    (tmp_path / "record.json").write_bytes(record_bytes(MeasurementRecord((row,))))
    assert read_record(tmp_path / "record.json").rows == (row,)
