"""The story on stderr: what is drawn where."""

from __future__ import annotations

import os

import pytest

from packager.cli import console
from packager.cli.console import Console


def test_outcomes_are_a_table_of_whole_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Console(color=False)
    listener.outcome("int8-dynamic", "fits", "3.97× smaller; " + "all agree " * 30)
    listener.outcome("int4-blocks", "rejected", "beyond the budget")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("  int8-dynamic             fits      3.97× smaller")
    assert first.endswith("all agree ")  # a log keeps what a terminal has no room for
    assert second == "  int4-blocks              rejected  beyond the budget"


def test_a_line_is_as_long_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Console, "_live", property(lambda _: True))
    monkeypatch.setattr(console, "_terminal_width", lambda: 60)
    listener = Console(color=False)
    listener.advance("tried int8-dynamic", 1, 2)
    listener.outcome("int8-dynamic", "fits", "3.97× smaller; " + "all agree " * 30)
    drawn = capsys.readouterr().err
    bar, _, line = drawn.rpartition("\r")  # Click takes the escapes out
    assert "50 %" in bar
    assert len(line.rstrip(os.linesep)) <= 60
    assert line.rstrip().endswith("…")


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Console(quiet=True).outcome("a", "fits", "b")
    assert capsys.readouterr().err == ""
