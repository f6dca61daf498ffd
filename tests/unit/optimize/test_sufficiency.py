"""How many samples a budget takes at least, and that a user is told before anything is tried."""

from __future__ import annotations

import numpy as np
import pytest

from packager.domain.model import Metric, QualityBudget
from packager.optimize.confidence import mean_upper_bound, share_lower_bound, tolerance_rank
from packager.optimize.samples import _split, in_the_file
from packager.optimize.sufficiency import least, too_few


@pytest.mark.parametrize("bound", [0.5, 0.9, 0.99, 0.995])
def test_a_share_can_be_proved_from_that_number_on_and_not_below(bound: float) -> None:
    needed = least(QualityBudget(Metric.TOP1_AGREEMENT, bound))
    assert needed is not None
    assert share_lower_bound(needed, needed) >= bound > share_lower_bound(needed - 1, needed - 1)


def test_a_value_that_most_inputs_keep_to() -> None:
    needed = least(QualityBudget(Metric.COSINE, 0.9))
    assert needed == least(QualityBudget(Metric.MAX_ABS, 0.1)) == 299
    assert tolerance_rank(299) == 1
    assert tolerance_rank(298) is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_task_that_loses_nothing(whole: bool) -> None:
    needed = least(QualityBudget(Metric.TASK, 0.01), whole=whole)
    assert needed is not None
    assert mean_upper_bound(0, needed, whole=whole) <= 0.01
    assert too_few(needed - 1, QualityBudget(Metric.TASK, 0.001), whole=whole)


def test_perfection_is_proved_by_no_number() -> None:
    for budget in (QualityBudget(Metric.TOP1_AGREEMENT, 1.0), QualityBudget(Metric.TASK, 0.0)):
        assert "no number of samples" in str(too_few(10_000, budget))


@pytest.mark.parametrize("held_out", [1, 30, 299, 1000, 2995])
def test_so_many_in_the_file_leave_so_many_held_out(held_out: int) -> None:
    count = in_the_file(held_out)
    given = {"x": np.arange(count, dtype=np.float32)[:, None]}
    assert len(_split(given, {"x": True}, synthetic=False).evaluation) >= held_out
    assert f"which takes {in_the_file(299)} distinct" in str(
        too_few(298, QualityBudget(Metric.COSINE, 0.9))
    )
