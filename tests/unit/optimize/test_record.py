"""Measurements as an input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from packager.digest import Digest
from packager.domain.model import Batching, Objective
from packager.errors import InputError
from packager.optimize.record import Figures, MeasurementRecord, Row, measurement
from packager.optimize.record_file import read_record, record_bytes

ONE = Figures(1, 16, 40, 8.0, 9.5, 120.0, 1.0, 1.1)
TWO = replace(ONE, threads=2, latency_p50_ms=7.5, throughput_per_s=210.0)
ROW = Row(Digest.of(b"source"), Digest.of(b"candidate"), "x86-64-v3", "some CPU", (ONE, TWO))


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = MeasurementRecord().having([ROW, replace(ROW, hardware="arm64-v8")])
    path = tmp_path / "measurements.json"
    path.write_bytes(record_bytes(record))
    assert read_record(path) == record
    assert record_bytes(read_record(path)) == path.read_bytes()


def test_the_order_of_adding_does_not_show() -> None:
    other = replace(ROW, hardware="arm64-v8")
    one = MeasurementRecord().having([ROW]).having([other])
    two = MeasurementRecord().having([other]).having([ROW])
    assert record_bytes(one) == record_bytes(two)


def test_finding_rows() -> None:
    record = MeasurementRecord().having([ROW])
    assert record.find(ROW.source, ROW.candidate, "x86-64-v3") == ROW
    assert record.find(ROW.source, ROW.candidate, "arm64-v8") is None
    assert record.elsewhere(ROW.source, ROW.candidate, "some CPU") == ROW
    assert record.elsewhere(ROW.source, ROW.candidate, "another CPU") is None


def test_the_fewest_threads_that_come_within_a_tenth() -> None:
    assert ROW.best(Objective.LATENCY).threads == 1
    assert ROW.best(Objective.THROUGHPUT).threads == 2
    single = replace(ROW, figures=(ONE,))
    assert measurement(single, Objective.LATENCY).speedup == 1.0
    assert measurement(single, Objective.COST).speedup == 1.1


def test_batches_where_they_pay_and_none_where_they_do_not() -> None:
    def row(*rates: float) -> Row:
        cells = zip((1, 4, 16), rates, strict=True)
        return replace(
            ROW, figures=tuple(replace(ONE, batch=b, throughput_per_s=r) for b, r in cells)
        )

    assert row(100, 190, 200).batching(1) == Batching(4, 1.9)
    assert row(100, 150, 300).batching(1) == Batching(16, 3.0)
    assert row(100, 110, 115).batching(1) == Batching(0, 1.1)
    assert row(100, 90, 80).batching(1) == Batching(0, 1.0)
    assert row(100, 190, 200).batching(2) == Batching(0, 1.0), "nothing is known of two threads"
    best = row(100, 190, 200).best(Objective.THROUGHPUT)
    assert (best.threads, best.batch) == (1, 4)
    assert measurement(row(100, 190, 200), Objective.LATENCY).throughput_per_s == 200


def test_batches_must_beat_rows_side_by_side_on_all_threads() -> None:
    """Two threads on one row: 120 a second; one row on each: 200."""
    cells = ((1, 1, 100.0), (2, 1, 120.0), (2, 16, 230.0))
    figures = tuple(Figures(t, b, 20, 1.0, 1.0, rate, 1.0, 1.0) for t, b, rate in cells)
    row = Row(Digest.of(b"s"), Digest.of(b"c"), "cpu", "here", figures)
    assert row.batching(2) == Batching(0, 1.15)
    better = replace(row, figures=(*figures[:2], replace(figures[2], throughput_per_s=300.0)))
    assert better.batching(2) == Batching(16, 1.5)


def test_memory_and_load_time_travel_where_they_are_known(tmp_path: Path) -> None:
    known = replace(ROW, load_ms=12.5, resident_bytes=1000)
    record = MeasurementRecord().having([known])
    path = tmp_path / "measurements.json"
    path.write_bytes(record_bytes(record))
    assert read_record(path).rows == (known,)
    assert b"load_ms" not in record_bytes(MeasurementRecord().having([ROW]))


def test_broken_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "measurements.json"
    good = json.loads(record_bytes(MeasurementRecord().having([ROW])))

    def refused(content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(InputError, match="measurements cannot be used"):
            read_record(path)

    refused(b"")
    refused(b"[1, 2")
    refused(b"[" * 100_000)
    refused(b'{"kind": "Other"}')
    for key, value in (
        ("candidate", "sha256:short"),
        ("figures", []),
        ("figures", [{"threads": 1}]),
        ("figures", [{**good["measurements"][0]["figures"][0], "latency_p50_ms": -1}]),
        ("figures", [{**good["measurements"][0]["figures"][0], "threads": True}]),
        ("figures", "text"),
        ("hardware", 5),
    ):
        row = {**good["measurements"][0], key: value}
        refused(json.dumps({**good, "measurements": [row]}).encode())
    path.unlink()
    with pytest.raises(InputError):
        read_record(path)
