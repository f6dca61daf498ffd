"""Who is timed in full, and what a site's own record is worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Model, ModelFile, Objective
from packager.optimize.measuring import MARGIN, host, in_the_race, measure, where
from packager.optimize.processes import Failure
from packager.optimize.record import Figures, MeasurementRecord, Row, read_record, record_bytes
from packager.progress import SILENT

SITE = "AMD EPYC 7003 (x86_64), onnxruntime 1.28.0"


def test_who_is_surely_behind_leaves_the_race() -> None:
    between = {"source": (1.0, 1.0), "a": (2.8, 3.0), "b": (2.2, 2.3), "c": (1.0, 1.2)}
    sizes = dict.fromkeys(between, 100)
    assert in_the_race(between, sizes, Objective.LATENCY) == ["a", "b"]
    assert in_the_race({**between, "c": (1.0, 2.4)}, sizes, Objective.LATENCY) == ["a", "b", "c"]
    assert in_the_race(between, {**sizes, "c": 10}, Objective.SIZE) == ["c"]
    assert in_the_race({}, {}, Objective.LATENCY) == []


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=3),
        st.tuples(st.floats(0.2, 4), st.floats(0.81, 1.24)),
        min_size=1,
    )
)
def test_the_race_never_loses_the_winner(drawn: dict[str, tuple[float, float]]) -> None:
    """Whatever threads and batches do to a ratio within the margin, the best of all is timed."""
    for objective in (Objective.LATENCY, Objective.THROUGHPUT):
        reach = MARGIN[objective] ** 0.5  # one rises, the other falls
        final = {
            name: first * min(max(drift, reach), 1 / reach)
            for name, (first, drift) in drawn.items()
        }
        between = {name: (first, first) for name, (first, _) in drawn.items()}
        kept = in_the_race(between, dict.fromkeys(drawn, 1), objective)
        assert max(final.values()) == pytest.approx(max(final[name] for name in kept))


def _model(text: str) -> Model:
    file = ModelFile("model.onnx", Path("model.onnx"), Digest.of(text.encode()), 10)
    return Model((file,), (), (), 17, Precision.FP32)


class _Workshop:
    """Gives every candidate twice the source's speed, and counts who asked."""

    def __init__(self) -> None:
        self.source = _model("source")
        self.samples = type("S", (), {"stackable": False, "evaluation": (), "batched": {}})()
        self.folder = Path()
        self.workers = self
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def do(self, name: str, task: dict, folder: Path) -> dict | Failure:
        self.asked.append((name, tuple(task["threads"])))
        figures = [
            {
                "threads": count,
                "batch": 1,
                "rounds": 15,
                "latency_p50_ms": 5.0,
                "latency_p99_ms": 6.0,
                "throughput_per_s": 200.0,
                "latency_speedup": 2.0,
                "throughput_speedup": 2.0,
            }
            for count in task["threads"]
        ]
        slow = name == "measure-slow"
        between = (0.9, 1.0) if slow else (1.9, 2.1)
        return {"figures": figures, "between": between, "load_ms": 1.0, "resident_bytes": 1}


class _Told:
    """A listener that keeps the lines of the growing table."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def advance(self, detail: str, done: int, total: int) -> None:
        """The bar is not looked at."""

    def outcome(self, name: str, state: str, told: str) -> None:
        self.lines.append((name, state, told))


def test_only_those_in_the_race_are_timed_over_threads(cpu: HardwareProfile) -> None:
    workshop = _Workshop()
    models = {name: _model(name) for name in ("source", "fast", "like", "slow")}
    told = _Told()
    rows, failures = measure(workshop, models, cpu, MeasurementRecord(), told)
    assert not failures
    assert told.lines[:2] == [
        ("fast", "measured", "2.00× the source's speed (1.90 to 2.10), p50 5 ms"),
        ("like", "measured", "2.00× the source's speed (1.90 to 2.10), p50 5 ms"),
    ]
    assert set(rows) == set(models)
    assert [name for name, threads in workshop.asked if threads == (1,)][:4] == [
        f"measure-{name}" for name in ("fast", "like", "slow", "source")
    ]
    second = [name for name, _ in workshop.asked[4:]]
    assert "measure-slow" not in second
    assert {"measure-fast", "measure-like"} <= set(second)


def _site(source: Model, candidate: Model, hardware: str, p50: float, *, own: bool) -> dict:
    figures = {
        "threads": 2,
        "batch": 1,
        "rounds": 15,
        "latency_p50_ms": p50,
        "latency_p99_ms": p50 + 1,
        "throughput_per_s": 1000 / p50,
    }
    if own:
        figures |= {"latency_speedup": 1.0, "throughput_speedup": 1.0}
    return {
        "source": str(source.digest),
        "candidate": str(candidate.digest),
        "hardware": hardware,
        "measured_on": SITE,
        "figures": [figures],
        "load_ms": 12.5,
        "resident_bytes": 1 << 20,
    }


def _read(tmp_path: Path, *rows: dict) -> MeasurementRecord:
    file = tmp_path / "site.json"
    document = {"apiVersion": "packager/v1", "kind": "MeasurementRecord", "measurements": rows}
    file.write_text(json.dumps(document))
    record = read_record(file)
    file.write_bytes(record_bytes(record))
    assert read_record(file) == record
    return record


def test_a_sites_figures_take_the_place_of_ours(cpu: HardwareProfile, tmp_path: Path) -> None:
    workshop, fast = _Workshop(), _model("fast")
    record = _read(tmp_path, _site(workshop.source, fast, cpu.id, 40.0, own=False))
    models = {"source": workshop.source, "fast": fast}
    rows, _ = measure(workshop, models, cpu, record, SILENT)
    row = rows["fast"]
    assert row.measured_on == SITE
    assert row.figures[0].latency_p50_ms == 40.0
    assert row.figures[0].latency_speedup == 2.0  # from here, and said so
    assert row.compared_on == host()
    assert "compared with the source on" in where(cpu, rows)
    again, _ = measure(workshop, models, cpu, record.having(rows.values()), SILENT)
    assert again == rows
    assert len(workshop.asked) == 2


def test_a_site_that_timed_the_source_too_needs_nobody_else(
    cpu: HardwareProfile, tmp_path: Path
) -> None:
    workshop, fast = _Workshop(), _model("fast")
    record = _read(
        tmp_path,
        _site(workshop.source, fast, cpu.id, 40.0, own=False),
        _site(workshop.source, workshop.source, cpu.id, 100.0, own=True),
    )
    rows, _ = measure(workshop, {"source": workshop.source, "fast": fast}, cpu, record, SILENT)
    assert rows["fast"].figures[0].latency_speedup == 2.5
    assert rows["fast"].compared_on is None
    assert workshop.asked == []


def test_for_an_accelerator_a_sites_record_gives_figures_and_no_ratio(
    gpu: HardwareProfile, tmp_path: Path
) -> None:
    workshop, fast = _Workshop(), _model("fast")
    record = _read(tmp_path, _site(workshop.source, fast, gpu.id, 4.0, own=False))
    rows, _ = measure(workshop, {"source": workshop.source, "fast": fast}, gpu, record, SILENT)
    assert rows["fast"].figures[0].latency_speedup is None
    assert workshop.asked == []
    assert replaced_ratio(rows["fast"]) is None


def replaced_ratio(row: Row) -> float | None:
    figures: Figures = row.figures[0]
    return figures.throughput_speedup
