"""A batch must be answered as its rows are: by the source, and by whoever takes its place."""

from __future__ import annotations

import numpy as np

from packager.optimize.in_batches import MARK, Batch, rows_are_alone, taken_out, wrong_together
from packager.optimize.ragged import SIZES

RANDOM = np.random.RandomState(4)
EXACT = {"y": RANDOM.standard_normal((9, 1, 5)).astype(np.float32)}
TOGETHER = Batch({"y": EXACT["y"][:4, 0]})


def _noisy(share: float) -> dict[str, np.ndarray]:
    return {"y": EXACT["y"] + np.float32(share) * RANDOM.standard_normal((9, 1, 5))}


def test_rows_that_have_to_do_with_each_other_are_seen() -> None:
    assert rows_are_alone(EXACT, TOGETHER)
    assert not rows_are_alone(EXACT, Batch({"y": EXACT["y"][:4, 0] - EXACT["y"][:4, 0].mean(0)}))
    assert not rows_are_alone(EXACT, Batch({"y": EXACT["y"][:1, 0]}))


def test_the_batch_may_lie_on_another_axis() -> None:
    """As in recognizers of lines of text, whose answers have time first."""
    rows = {"y": RANDOM.standard_normal((9, 20, 1, 7))}
    batch = np.concatenate(list(rows["y"][:4]), axis=1)
    assert rows_are_alone(rows, Batch({"y": batch}))
    assert not rows_are_alone(rows, Batch({"y": batch[:, ::-1]}))


def test_an_output_that_does_not_grow_must_be_that_of_each_row() -> None:
    table = RANDOM.standard_normal((3, 2))
    assert rows_are_alone({"y": np.stack([table] * 9)}, Batch({"y": table}))
    assert not rows_are_alone({"y": EXACT["y"]}, Batch({"y": EXACT["y"][:4].mean(0)}))


def test_what_cannot_be_seen_is_not_held_against_a_model() -> None:
    assert rows_are_alone(EXACT, None)
    assert rows_are_alone(EXACT, Batch({}, "takes one row"))
    sized = {**EXACT, f"y{SIZES}": np.ones((9, 2), np.int64)}
    assert rows_are_alone(sized, Batch({"y": EXACT["y"][:2, 0]}))


def test_a_candidate_may_be_off_as_far_as_it_loses_and_no_further() -> None:
    own = _noisy(0.01)
    ranges_of_the_batch = Batch({"y": own["y"][:4, 0] * 1.03})
    assert wrong_together(own, ranges_of_the_batch, EXACT, TOGETHER) is None
    assert wrong_together(EXACT, ranges_of_the_batch, EXACT, TOGETHER)  # who loses nothing may not


def test_what_the_source_itself_is_off_is_allowed() -> None:
    """One that came with ranges taken while running."""
    loose = Batch({"y": EXACT["y"][:4, 0] * 1.03})
    assert wrong_together(EXACT, loose, EXACT, loose) is None


def test_a_candidate_that_is_right_alone_and_wrong_in_company_is_seen() -> None:
    own = _noisy(0.001)
    for wrong in (own["y"][[1, 0, 2, 3], 0], own["y"][:4, 0] * 0, own["y"][:1, 0].repeat(4, 0)):
        assert "otherwise than one by one" in str(
            wrong_together(own, Batch({"y": wrong}), EXACT, TOGETHER)
        )
    assert "does not run in a batch" in str(
        wrong_together(own, Batch({}, "fixed shape"), EXACT, TOGETHER)
    )


def test_where_rows_are_mixed_the_batch_of_the_source_is_what_counts() -> None:
    mixed = Batch({"y": EXACT["y"][:4, 0] - EXACT["y"][:4, 0].mean(0)})
    assert wrong_together(EXACT, mixed, EXACT, mixed) is None
    assert wrong_together(EXACT, TOGETHER, EXACT, mixed)


def test_where_the_source_takes_no_batch_nobody_has_to() -> None:
    assert wrong_together(EXACT, Batch({}, "x"), EXACT, Batch({}, "one row only")) is None
    assert wrong_together(EXACT, None, EXACT, None) is None


def test_text_and_whole_numbers_are_held_against_each_other_too() -> None:
    rows = {"y": np.array([["a"], ["b"], ["c"]])}
    assert rows_are_alone(rows, Batch({"y": np.array(["a", "b", "c"])}))
    assert not rows_are_alone(rows, Batch({"y": np.array(["a", "b", "x"])}))


def test_the_batch_is_no_output_of_the_model() -> None:
    outputs = {"y": EXACT["y"], f"y{MARK}": EXACT["y"][:4, 0]}
    assert taken_out(outputs, "") is not None
    assert list(outputs) == ["y"]
    assert taken_out(outputs, "") is None
