"""Admission: nothing before the start, never more than the bound, and quiet is measured."""

from __future__ import annotations

import pytest

from packager.runtime.errors import RequestError
from packager.runtime.lifecycle import Lifecycle, Phase


def test_nothing_is_admitted_before_the_start() -> None:
    lifecycle = Lifecycle(1)
    with pytest.raises(RequestError, match="starting") as refused:
        lifecycle.enter()
    assert refused.value.status == 503
    assert refused.value.headers == {"retry-after": "1"}


@pytest.mark.parametrize("phase", [Phase.READY, Phase.DRAINING])
def test_the_bound_holds_and_places_come_back(phase: Phase) -> None:
    lifecycle = Lifecycle(2)
    lifecycle.phase = phase
    lifecycle.enter()
    lifecycle.enter()
    assert lifecycle.in_hand == 2
    assert lifecycle.quiet_for() == 0
    with pytest.raises(RequestError, match="2 requests are in hand"):
        lifecycle.enter()
    lifecycle.leave()
    lifecycle.enter()
    lifecycle.leave()
    lifecycle.leave()
    assert lifecycle.in_hand == 0
    assert 0 <= lifecycle.quiet_for() < 60
