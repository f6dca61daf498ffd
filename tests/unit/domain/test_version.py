"""Counters grow as versions do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.domain.version import MAX_COUNTER, counter_of

PART = st.integers(0, 9999)


@pytest.mark.parametrize(
    ("version", "counter"),
    [
        ("0", 9),
        ("1.4.0", 100004000009),
        ("v1.4.0", 100004000009),
        ("1.4", 100004000009),
        ("1.4.0-rc1", 100004000000),
        ("2026.11.27", 20260001100027_9),
        ("nightly", None),
        ("20261127", None),
        ("1.2.3.4", None),
        ("1.x", None),
        ("", None),
        ("٣", None),
    ],
)
def test_counters(version, counter):
    assert counter_of(version) == counter


@given(st.tuples(PART, PART, PART), st.tuples(PART, PART, PART))
def test_the_order_of_versions_is_the_order_of_counters(first, second):
    def counter(parts, suffix=""):
        found = counter_of(".".join(map(str, parts)) + suffix)
        assert found is not None
        return found

    assert (counter(first) < counter(second)) == (first < second)
    assert counter(first, "-rc1") < counter(first) <= MAX_COUNTER
