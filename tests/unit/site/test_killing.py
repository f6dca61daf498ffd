"""SIGKILL at random moments; the long run stands in benchmarks/border/killing.py."""

from __future__ import annotations

from site_killing import kill_through


def test_whatever_is_killed_somebody_serves_and_the_next_command_completes(dash, releases):
    wanted = [releases[version] for version in ("1.0.0", "1.1.0", "1.2.0")]
    counts = kill_through(dash, wanted, moments=10, seed=7)
    assert counts["killed"] >= 3
