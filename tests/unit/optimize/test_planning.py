"""The dry run for every built-in profile, as it is meant to be.

`PACKAGER_UPDATE_GOLDEN=1 pytest tests/unit/optimize/test_planning.py` writes it anew; read the
difference before you keep it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from optimizer_models import convnet, encoder

from packager.catalogue import load_catalogue
from packager.optimize.anatomy import Anatomy, anatomy_of
from packager.optimize.planning import plan_candidates

GOLDEN = Path(__file__).parents[2] / "golden" / "optimizer_plans"
CATALOGUE = load_catalogue()
PROFILES = sorted(CATALOGUE.hardware_ids())
MODELS: dict[str, Anatomy] = {
    "encoder": anatomy_of(encoder()),
    "convnet": anatomy_of(convnet()),
}


def test_there_are_more_than_forty_profiles() -> None:
    assert len(PROFILES) >= 40


@pytest.mark.parametrize("profile", PROFILES)
def test_the_plan_is_the_golden_one(profile: str) -> None:
    hardware = CATALOGUE.hardware(profile)
    made = {
        name: [row.as_dict() for row in plan_candidates(anatomy, hardware)]
        for name, anatomy in MODELS.items()
    }
    file = GOLDEN / f"{profile}.json"
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("PACKAGER_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text


@pytest.mark.parametrize("profile", PROFILES)
def test_every_row_has_its_reason_and_the_source_is_always_there(profile: str) -> None:
    for anatomy in MODELS.values():
        rows = plan_candidates(anatomy, CATALOGUE.hardware(profile))
        assert rows[0].name == "source"
        assert all(row.why for row in rows)
        assert all(bool(row.passes) == row.legal for row in rows[1:])
        assert len({row.name for row in rows}) == len(rows)
