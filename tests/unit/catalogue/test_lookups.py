"""The look-ups of 2026-11-23: each of the 142 is in a profile, confirmed, corrected or unsure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from packager.catalogue import Catalogue, load_catalogue
from packager.domain.transfer import UNCONFIRMED

LOOKUPS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "lookups.yaml").read_text()
)["lookups"]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def test_all_of_them_are_listed() -> None:
    verdicts = Counter(one["verdict"] for one in LOOKUPS)
    assert verdicts == {"confirmed": 72, "corrected": 41, "unconfirmed": 29}
    assert all(one.get("rules") or one.get("told") for one in LOOKUPS)


@pytest.mark.parametrize(
    "lookup", LOOKUPS, ids=[f"{one['profile']}-{n}" for n, one in enumerate(LOOKUPS)]
)
def test_it_is_taken_over(catalogue: Catalogue, lookup: dict[str, Any]) -> None:
    """The rules that it names carry its source; what is unconfirmed is nowhere shown as sure."""
    profile = catalogue.written(lookup["profile"])
    laws = {one.id: one.law for one in (*profile.rules, *profile.mechanisms)}
    for rule in lookup.get("rules", ()):
        law = laws[rule]
        if "source" in lookup:
            assert law.source == lookup["source"]
        if "because" not in lookup:
            unsure = law.confidence in UNCONFIRMED
            assert unsure == (lookup["verdict"] == "unconfirmed"), (rule, law.confidence)
    if told := lookup.get("told"):
        said = [
            *profile.uncertain,
            *(one.law.name for one in profile.rules),
            *(one.note or "" for one in (*profile.rules, *profile.mechanisms)),
        ]
        assert any(told in text for text in said), told
