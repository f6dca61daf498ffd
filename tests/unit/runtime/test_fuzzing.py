"""A moment of `benchmarks/runtime/fuzz.py`: no answer that is not meant, no fault, no end."""

from __future__ import annotations

from pathlib import Path

from fuzzing import fuzz


def test_mutated_requests_get_meant_answers(tmp_path: Path) -> None:
    found, corpus = fuzz(tmp_path, seconds=5, seed=11)
    assert found["wrong"] == 0, found["first_wrong"]
    assert found["answers"]["REST 400"] > 5
    assert any("not the message of the call" in told for told in corpus)
