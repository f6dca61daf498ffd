"""The decision table: profile × class of data × request, as it is meant to be.

`tests/golden/requests/<profile>.json` holds what is asked of a profile, beside `abroad`, which is
asked of all of them unless the file has its own; the answers stand in `tests/golden/decisions/`.

`PACKAGER_UPDATE_GOLDEN=1 pytest tests/unit/comply/test_golden_decisions.py` writes it anew; read
the difference before you keep it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.comply.deciding import decide
from packager.domain.decision import Status
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass

GOLDEN = Path(__file__).parents[2] / "golden" / "decisions"
Asking = Callable[..., tuple[PlannedTarget, ReleaseRequest]]

ABROAD = {"regions": ["aws/us-east-1"], "registry": "docker.io/acme", "license_": None}
REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    file.stem: {"abroad": ABROAD, **json.loads(file.read_text())}
    for file in (GOLDEN.parent / "requests").glob("*.json")
}
PROFILES = sorted(REQUESTS)
# A rule is tested where it is written; the profiles that inherit it show it in their tables.
RULES = [
    (profile, rule.id)
    for catalogue in [load_catalogue()]
    for profile in PROFILES
    for rule in catalogue.jurisdiction(profile).rules
    if catalogue.jurisdiction(profile).owner[rule.id] == profile
]


def table(
    profile: str, catalogue: Catalogue, asking: Asking, without: str | None = None
) -> dict[str, Any]:
    """Request → class of data → control → how it came out; `without` leaves a rule out."""
    rows: dict[str, Any] = {}
    for name, options in REQUESTS[profile].items():
        for platform in ("kubernetes", "compose"):
            for data in DataClass:
                target, request = asking(profile, **options, data=data.value, platform=platform)
                rules = tuple(r for r in target.jurisdiction.rules if r.id != without)
                target = dataclasses.replace(
                    target, jurisdiction=dataclasses.replace(target.jurisdiction, rules=rules)
                )
                decisions = decide(
                    target, request, catalogue.country_of, catalogue.distance_km, catalogue.home_of
                )
                row = rows.setdefault(f"{name}, {platform}", {}).setdefault(data.value, {})
                for decision in decisions:
                    row[decision.control] = ", ".join([decision.status.value, *decision.by])
    return rows


@pytest.mark.parametrize("profile", PROFILES)
def test_the_table_is_as_it_is_meant_to_be(
    profile: str, catalogue: Catalogue, asking: Asking
) -> None:
    file = GOLDEN / f"{profile}.json"
    found = json.dumps(table(profile, catalogue, asking), indent=1, sort_keys=True) + "\n"
    if os.environ.get("PACKAGER_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found)
    assert found == file.read_text()


@pytest.mark.parametrize(("profile", "rule"), RULES)
def test_the_table_notices_when_a_rule_is_gone(
    profile: str, rule: str, catalogue: Catalogue, asking: Asking
) -> None:
    meant = json.loads((GOLDEN / f"{profile}.json").read_text())
    assert table(profile, catalogue, asking, without=rule) != meant
    owner = catalogue.jurisdiction(profile).owner[rule]
    outcomes = {row[f"{owner}/{rule}"] for classes in meant.values() for row in classes.values()}
    assert outcomes != {Status.NOT_APPLICABLE.value}, "no request in the table meets this rule"


def test_every_profile_has_its_table(catalogue: Catalogue) -> None:
    assert sorted(catalogue.jurisdiction_ids()) == PROFILES


@pytest.mark.parametrize("profile", PROFILES)
def test_abroad_is_refused_and_inside_is_not(profile: str) -> None:
    meant = json.loads((GOLDEN / f"{profile}.json").read_text())
    for request, classes in meant.items():
        for data, row in classes.items():
            refused = any(status.startswith("violated") for status in row.values())
            if request.startswith("inside"):
                assert not refused, (request, data)
            if request.startswith(("abroad", "neighbour")):
                assert refused, (request, data)
