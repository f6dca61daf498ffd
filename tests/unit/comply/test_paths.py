"""Legal paths abroad: nothing is assumed, everything is shown, and memory opens nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.domain.decision import Decision, Status
from packager.domain.target import DataClass, Region

Decided = Callable[..., dict[str, Decision]]
Violated = Callable[..., set[str]]
GOLDEN = Path(__file__).parents[2] / "golden" / "mechanisms.json"
MECHANISMS = [
    (profile, path.id)
    for catalogue in [load_catalogue()]
    for profile in catalogue.jurisdiction_ids()
    for path in catalogue.written(profile).mechanisms
]


def test_the_mechanisms_are_as_they_are_meant_to_be(catalogue: Catalogue) -> None:
    """Notices each that is gone, added or changed; `PACKAGER_UPDATE_GOLDEN=1` writes it anew."""
    found = {
        f"{profile}/{path.id}": {
            "kind": path.kind.value,
            "opens": list(path.opens),
            "data": sorted(path.data_classes),
            "to": len(path.to) if len(path.to) > 6 else list(path.to),
            "since": path.since,
            "law": path.law.told,
        }
        for profile in catalogue.jurisdiction_ids()
        for path in catalogue.written(profile).mechanisms
    }
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("PACKAGER_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize(("profile", "name"), MECHANISMS)
def test_each_opens_its_rules_when_declared_and_only_then(
    profile: str, name: str, catalogue: Catalogue, decided: Decided
) -> None:
    """For every class of data that it names, against the same request without it."""
    path = catalogue.jurisdiction(profile).mechanisms[f"{profile}/{name}"]
    abroad = next(
        code
        for code in ("US", "CA", "JP", *path.to)
        if code in path.to and code not in catalogue.jurisdiction(profile).countries
    )
    owner = catalogue.jurisdiction(profile).owner
    rules = {rule.id: rule for rule in catalogue.jurisdiction(profile).rules}
    for data in path.data_classes:
        place = {"data": data.value, "sites": {"there": abroad}}
        without = decided(profile, ["site/there"], **place)
        declared = decided(
            profile, ["site/there"], transfers={f"{profile}/{name}": [abroad]}, **place
        )
        for rule in (one for one in path.opens if data in rules[one].data_classes):
            control = f"{owner[rule]}/{rule}"
            assert without[control].status is Status.VIOLATED
            if path.confirmed:
                assert declared[control].status is Status.LEFT_TO_OPERATOR
                assert declared[control].paths[0].mechanism == path
                assert "as you declared" in declared[control].why
                assert path.asks in declared[control].why
                assert "release.json" in declared[control].by
            else:
                assert declared[control].status is Status.VIOLATED
                assert "opens nothing" in declared[control].why


def test_germany_to_the_united_states_under_the_framework(
    decided: Decided, violated: Violated
) -> None:
    # GDPR Art. 45, Implementing Decision (EU) 2023/1795.
    assert violated("de", ["aws/us-east-1"]) == {
        "eu/gdpr-transfer",
        "eu/gdpr-logs",
        "eu/gdpr-at-rest",
    }
    assert violated("de", ["aws/us-east-1"], transfers={"eu/dpf": ["US"]}) == set()
    found = decided("de", ["aws/us-east-1"], transfers={"eu/dpf": ["US"]})["eu/gdpr-transfer"]
    assert found.status is Status.LEFT_TO_OPERATOR
    path = found.as_dict()["paths"][0]  # type: ignore[index]
    assert path["mechanism"] == "eu/dpf"
    assert path["law"]["name"].startswith("Implementing Decision (EU) 2023/1795")
    assert path["recipient"] == "Example Inc."


def test_the_refusal_says_what_could_be_declared(decided: Decided) -> None:
    remedy = decided("de", ["aws/us-east-1"])["eu/gdpr-transfer"].remedy
    assert remedy is not None
    assert "eu/dpf (limited adequacy)" in remedy
    assert "eu/scc (standard clauses)" in remedy
    assert "transfers: [{mechanism:" in remedy


def test_the_framework_leads_to_the_united_states_and_nowhere_else(decided: Decided) -> None:
    found = decided("de", ["aws/ca-central-1"], transfers={"eu/dpf": ["CA", "US"]})
    assert "cannot lead to CA" in found["eu/gdpr-transfer"].why
    found = decided("de", ["aws/us-east-1"], transfers={"eu/scc": ["IN"]})
    assert "names IN and not US" in found["eu/gdpr-transfer"].why


def test_sector_law_is_not_set_aside_by_a_contract(decided: Decided, violated: Violated) -> None:
    # SGB V § 393(2), Code de la santé publique L. 1111-8: no clauses help health data.
    for profile, rule in (("de", "de/sgb5-health"), ("fr", "fr/csp-health")):
        options = {"data": "health", "transfers": {"eu/scc": ["US"]}}
        assert rule in violated(profile, ["aws/us-east-1"], **options)
        without = decided(profile, ["aws/us-east-1"], data="health")["eu/gdpr-transfer"].remedy
        assert without is not None
        assert f"would not help: {rule}" in without


def test_a_path_holds_for_its_classes_of_data_only(decided: Decided) -> None:
    found = decided("de", ["aws/us-east-1"], data="government", transfers={"eu/dpf": ["US"]})
    assert found["eu/gdpr-transfer"].status is Status.VIOLATED
    assert "does not hold for government data" in found["eu/gdpr-transfer"].why


def test_an_unknown_place_is_not_opened_by_any_path(violated: Violated) -> None:
    refused = violated("de", ["nobody/somewhere"], transfers={"eu/scc": ["US"]})
    assert {"eu/gdpr-transfer", "target/places"} <= refused


def test_a_log_abroad_takes_a_path_too(decided: Decided) -> None:
    sink = {"log_region": Region("aws", "us-east-1")}
    refused = decided("de", ["aws/eu-central-1"], facts=sink)["eu/gdpr-logs"]
    assert refused.status is Status.VIOLATED
    assert refused.remedy is not None
    assert "eu/dpf" in refused.remedy


def test_an_adequate_country_is_shown_with_its_decision(decided: Decided) -> None:
    # GDPR Art. 45: Switzerland by Decision 2000/518/EC, the United Kingdom until 2031-12-27.
    found = decided("de", ["aws/eu-central-2"])["eu/gdpr-transfer"]
    assert "CH by Decision 2000/518/EC of 2000-07-26" in found.why
    found = decided("de", ["aws/eu-west-2"])["eu/gdpr-transfer"]
    assert "until 2031-12-27" in found.why


def test_every_country_found_adequate_has_its_decision(catalogue: Catalogue) -> None:
    group = catalogue.groups["eu-adequate"]
    assert {one.country for one in group.decisions} == set(group.countries)


def test_no_path_for_people_whose_law_closes_the_door(violated: Violated) -> None:
    # Public data of a German target: a house rule, no law, and no mechanism speaks of it.
    for data in DataClass:
        held = {"eu/scc": ["RU"], "eu/dpf": ["RU"]}
        refused = violated("ru", ["site/x"], data=data.value, sites={"x": "US"}, transfers=held)
        assert refused, data
