"""`make bench` knows all benchmarks, and says when one fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import __main__ as runner


def test_all_families_are_run_and_each_says_what_it_measures():
    families = {name.partition(".")[0] for name in runner.chosen([])}
    assert families >= {"assemble", "border", "comply", "runtime", "trust"}
    assert set(runner.BY_HAND) <= set(runner.found())
    assert all(told for told in runner.found().values()), "each says what it measures"


def test_a_family_or_one_of_it():
    assert runner.chosen(["trust"]) == ["trust.verify_speed"]
    assert runner.chosen(["optimize"]) == [
        "optimize.batcher",
        "optimize.criteria",
        "optimize.robust",
        "optimize.search",
    ]
    assert runner.chosen(["optimize.gpu_candidates"]) == ["optimize.gpu_candidates"]
    with pytest.raises(SystemExit, match="no benchmark nothing"):
        runner.chosen(["nothing"])


def test_one_that_fails_does_not_stop_the_others(monkeypatch, capsys):
    monkeypatch.setattr(runner, "run", lambda name: (int(name.startswith("comply")), 1.0))
    assert runner.main(["comply", "trust"]) == 1
    shown = capsys.readouterr().out
    assert "comply.full_matrix           FAILED (1)" in shown
    assert "trust.verify_speed           done" in shown
