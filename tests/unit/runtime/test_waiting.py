"""The queue of a model: rows, shapes, turns, levels, bounds. No clock, no threads."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from packager.runtime.batching_settings import Batching, QueuePolicy
from packager.runtime.waiting import Job, Waiting


def job(rows: int = 1, *, client: str = "", key: tuple[Any, ...] = (), level: int = 1) -> Job:
    return Job({}, ("y",), lambda result: None, rows=rows, client=client, key=key, level=level)


def taken(waiting: Waiting, now: float = 0.0) -> list[list[Job]]:
    batches = []
    while batch := waiting.take(now):
        batches.append(batch)
    return batches


def test_rows_are_counted_not_requests_and_none_is_split() -> None:
    waiting = Waiting(Batching(max_batch_size=4))
    sizes = [3, 1, 2, 3, 9, 1]
    for size in sizes:
        waiting.push(job(size))
    assert [[one.rows for one in batch] for batch in taken(waiting)] == [[3, 1], [2], [3], [9], [1]]
    assert (waiting.count, waiting.rows) == (0, 0)


def test_without_batching_each_goes_alone() -> None:
    waiting = Waiting(Batching())
    jobs = [job() for _ in range(3)]
    for one in jobs:
        waiting.push(one)
    assert taken(waiting) == [[one] for one in jobs]


def test_only_what_has_one_shape_goes_together() -> None:
    waiting = Waiting(Batching(max_batch_size=8))
    for client, key in (("a", (1,)), ("b", (2,)), ("c", (1,))):
        waiting.push(job(client=client, key=key))
    assert [[one.key for one in batch] for batch in taken(waiting)] == [[(1,), (1,)], [(2,)]]


def test_clients_take_turns() -> None:
    waiting = Waiting(Batching(max_batch_size=4))
    for _ in range(10):
        waiting.push(job(client="greedy"))
    waiting.push(job(client="modest"))
    waiting.push(job(client="modest"))
    first = waiting.take(0.0)
    assert Counter(one.client for one in first) == {"greedy": 2, "modest": 2}


def test_a_full_queue_is_taken_from_whoever_has_most_of_it() -> None:
    waiting = Waiting(Batching(policy=QueuePolicy(max_queue_size=3)))
    greedy = [job(client="greedy") for _ in range(3)]
    assert [waiting.push(one) for one in greedy] == [None, None, None]
    extra = job(client="greedy")
    assert waiting.push(extra) is extra
    modest = job(client="modest")
    assert waiting.push(modest) is greedy[-1]
    another = job(client="modest")
    assert waiting.push(another) is another
    assert waiting.count == 3


def test_levels_come_in_order_and_timed_out_ones_last() -> None:
    waiting = Waiting(Batching(priority_levels=2))
    low, high, late = job(level=2), job(level=1), job(level=1)
    for one in (low, late, high):
        waiting.push(one)
    assert waiting.put_last(late)
    assert [batch[0] for batch in taken(waiting)] == [high, low, late]
    assert not waiting.put_last(late)
    assert not waiting.remove(late)


def test_a_delay_waits_for_more_but_not_beyond_a_preferred_size() -> None:
    settings = Batching(
        max_batch_size=8, preferred_batch_size=(2, 4), max_queue_delay_microseconds=1000
    )
    waiting = Waiting(settings)
    waiting.push(job())
    assert waiting.take(0.0005) == []
    assert waiting.patience(0.0005) == 0.0005
    assert len(waiting.take(0.001)) == 1
    for _ in range(7):
        waiting.push(job())
    assert [len(batch) for batch in taken(waiting, 0.0)] == [4, 2]
    assert len(waiting.take(0.001)) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from("abc"), st.integers(1, 2), st.integers(1, 3)),
        max_size=40,
    ),
    st.integers(0, 8),
)
def test_everything_comes_out_once(entries: list[tuple[int, str, int, int]], most: int) -> None:
    waiting = Waiting(
        Batching(max_batch_size=most, priority_levels=3, policy=QueuePolicy(max_queue_size=100))
    )
    jobs = [
        job(rows if most else 1, client=client, key=(key,), level=level)
        for rows, client, key, level in entries
    ]
    for one in jobs:
        assert waiting.push(one) is None
    batches = taken(waiting)
    assert Counter(map(id, (one for batch in batches for one in batch))) == Counter(map(id, jobs))
    for batch in batches:
        assert len({one.key for one in batch}) == 1
        assert len(batch) == 1 or sum(one.rows for one in batch) <= max(1, most)
    for client in "abc":
        for level in (1, 2, 3):
            for key in (1, 2):
                order = [
                    one
                    for batch in batches
                    for one in batch
                    if (one.client, one.level, one.key) == (client, level, (key,))
                ]
                asked = [
                    one
                    for one in jobs
                    if (one.client, one.level, one.key) == (client, level, (key,))
                ]
                assert order == asked
