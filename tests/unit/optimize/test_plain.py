"""Values to plain JSON and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Candidate, Metric, Quality, Verdict
from packager.optimize.plain import from_plain, to_plain

ROW = Candidate(
    "int8",
    Precision.INT8,
    Verdict.CHOSEN,
    "why",
    ("pass(a=1)",),
    Digest.of(b"model"),
    12,
    None,
    Quality(Metric.COSINE, 1.0, 0.5, 300),
)


def test_a_value_comes_back_equal(cpu: HardwareProfile) -> None:
    for value in (ROW, cpu):
        plain = json.loads(json.dumps(to_plain(value)))
        assert from_plain(type(value), plain) == value
    assert from_plain(Path, to_plain(Path("a/b"))) == Path("a/b")


@pytest.mark.parametrize(
    "change",
    [
        {"name": 7},
        {"precision": "fp7"},
        {"passes": "pass"},
        {"size": True},
        {"size": "12"},
        {"quality": {"metric": "cosine"}},
        {"surplus": 1},
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_plain(Candidate, {**to_plain(ROW), **change})
