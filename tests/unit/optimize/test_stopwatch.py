"""What is timed of whom, and what a site's own record is worth."""

from __future__ import annotations

import json
from pathlib import Path

from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Model, ModelFile, Objective
from packager.optimize.measuring import host, thread_counts, where
from packager.optimize.processes import Failure
from packager.optimize.record import Figures, MeasurementRecord, Row
from packager.optimize.record_file import read_record, record_bytes
from packager.optimize.stopwatch import Stopwatch
from packager.progress import SILENT

SITE = "AMD EPYC 7003 (x86_64), onnxruntime 1.28.0"


def _model(text: str) -> Model:
    file = ModelFile("model.onnx", Path("model.onnx"), Digest.of(text.encode()), 10)
    return Model((file,), (), (), 17, Precision.FP32)


class _Workshop:
    """Gives every candidate twice the source's speed, and keeps what was asked."""

    def __init__(self) -> None:
        self.source = _model("source")
        self.samples = type("S", (), {"stackable": False, "evaluation": (), "batched": {}})()
        self.folder = Path()
        self.workers = self
        self.local = False
        self.asked: list[tuple[str, list[tuple[int, int]], bool]] = []

    def do(self, name: str, task: dict, folder: Path) -> dict | Failure:
        self.asked.append((name, task["cells"], (task["pace"] == "look")))
        figures = [
            {
                "threads": threads,
                "batch": batch,
                "rounds": 5 if (task["pace"] == "look") else 15,
                "latency_p50_ms": 5.0,
                "latency_p99_ms": 6.0,
                "throughput_per_s": 200.0 * batch,
                "latency_speedup": 2.0,
                "throughput_speedup": 2.0,
            }
            for threads, batch in task["cells"]
        ]
        return {"figures": figures, "between": (1.9, 2.1), "load_ms": 1.0, "resident_bytes": 1}


class _Told:
    """A listener that keeps the lines of the growing table."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def advance(self, detail: str, done: int, total: int) -> None:
        """The bar is not looked at."""

    def outcome(self, name: str, state: str, told: str) -> None:
        self.lines.append((name, state, told))


def _watch(workshop: _Workshop, hardware: HardwareProfile, record: MeasurementRecord) -> Stopwatch:
    return Stopwatch(workshop, hardware, record, SILENT)


def test_a_first_look_is_gone_on_with_where_it_is_asked(cpu: HardwareProfile) -> None:
    workshop, told = _Workshop(), _Told()
    models = {name: _model(name) for name in ("source", "fast", "slow")}
    watch = Stopwatch(workshop, cpu, MeasurementRecord(), told)
    watch.look(models, {})
    assert told.lines[0] == (
        "fast",
        "measured",
        "2.00× the source's speed (1.90 to 2.10), p50 5 ms",
    )
    assert [(name, look) for name, _, look in workshop.asked] == [
        ("measure-fast", True),
        ("measure-slow", True),
        ("measure-source", True),
    ]
    assert watch.complete("fast", Objective.LATENCY)
    assert workshop.asked[-1] == ("measure-fast", [(t, 1) for t in thread_counts()], False)
    assert not watch.complete("fast", Objective.LATENCY), "nothing is timed twice"
    rows = watch.rows()
    assert set(rows) == set(models)
    assert rows["fast"].figures[0].rounds == 15
    assert len(rows["slow"].figures) == 1

    again = _watch(workshop, cpu, MeasurementRecord().having(rows.values()))
    again.look(models, {})
    count = len(workshop.asked)
    assert again.rows() == rows
    assert not again.complete("fast", Objective.LATENCY)
    assert len(workshop.asked) == count, "a record is enough"
    assert again.complete("slow", Objective.LATENCY), (
        "but who was only looked at can be gone on with"
    )


def test_a_failure_is_kept_and_its_figures_are_not(cpu: HardwareProfile) -> None:
    workshop = _Workshop()
    watch = _watch(workshop, cpu, MeasurementRecord())
    watch.look({"fast": _model("fast")}, {})
    workshop.do = lambda *_: Failure("its process was ended by SIGSEGV")  # type: ignore[method-assign]
    assert watch.complete("fast", Objective.LATENCY)
    assert "SIGSEGV" in watch.failures["fast"].reason
    assert watch.rows() == {}


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
    watch = _watch(workshop, cpu, record)
    watch.look(models, {})
    rows = watch.rows()
    row = rows["fast"]
    assert row.measured_on == SITE
    assert row.figures[0].latency_p50_ms == 40.0
    assert row.figures[0].latency_speedup == 2.0  # from here, and said so
    assert row.compared_on == host()
    assert "compared with the source on" in where(cpu, rows)
    again = _watch(workshop, cpu, record.having(rows.values()))
    again.look(models, {})
    assert again.rows() == rows
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
    watch = _watch(workshop, cpu, record)
    watch.look({"source": workshop.source, "fast": fast}, {})
    rows = watch.rows()
    assert rows["fast"].figures[0].latency_speedup == 2.5
    assert rows["fast"].compared_on is None
    assert workshop.asked == []


def test_for_an_accelerator_a_sites_record_gives_figures_and_no_ratio(
    gpu: HardwareProfile, tmp_path: Path
) -> None:
    workshop, fast = _Workshop(), _model("fast")
    record = _read(tmp_path, _site(workshop.source, fast, gpu.id, 4.0, own=False))
    watch = _watch(workshop, gpu, record)
    watch.look({"source": workshop.source, "fast": fast}, {})
    rows = watch.rows()
    assert rows["fast"].figures[0].latency_speedup is None
    assert workshop.asked == []
    assert replaced_ratio(rows["fast"]) is None


def replaced_ratio(row: Row) -> float | None:
    figures: Figures = row.figures[0]
    return figures.throughput_speedup
