"""An allowance runs out, comes back with time, and with every request that is answered."""

from __future__ import annotations

import pytest

from packager.runtime.http2.allowance import Allowance
from packager.runtime.http2.faults import ConnectionFault, ErrorCode


def test_it_runs_out_and_comes_back() -> None:
    now = [0.0]
    allowance = Allowance(5, 2, lambda: now[0])
    for _ in range(5):
        allowance.spend("")
    with pytest.raises(ConnectionFault, match="pings") as fault:
        allowance.spend("pings")
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM
    now[0] = 1.0
    allowance.spend("")
    allowance.spend("")
    with pytest.raises(ConnectionFault):
        allowance.spend("")
    now[0] = 1000.0
    for _ in range(5):
        allowance.spend("")
    with pytest.raises(ConnectionFault):
        allowance.spend("")


def test_who_works_may_go_on() -> None:
    allowance = Allowance(5, 0, lambda: 0.0)
    for _ in range(1000):
        allowance.spend("")
        allowance.earn(1)
