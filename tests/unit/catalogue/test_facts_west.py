"""Traps in the facts of the western profiles: what was corrected must not creep back."""

from __future__ import annotations

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.domain.hardware import Confidence
from packager.domain.jurisdiction import Demand, Rule
from packager.domain.target import DataClass

MEMBER_STATES = ("at", "be", "de", "dk", "es", "fi", "fr", "ie", "it", "nl", "pl", "se")
CONCERN = {"CN", "HK", "MO", "CU", "IR", "KP", "RU", "VE"}
UNCONFIRMED = (Confidence.MEMORY, Confidence.LOW)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def rules(catalogue: Catalogue) -> dict[str, Rule]:
    """`profile/rule` → rule, as written."""
    return {
        f"{name}/{rule.id}": rule
        for name in catalogue.jurisdiction_ids()
        for rule in catalogue.written(name).rules
    }


def test_twelve_member_states_carry_every_rule_of_the_union(catalogue: Catalogue) -> None:
    union = set(catalogue.jurisdiction("eu").rules)
    for name in MEMBER_STATES:
        assert union <= set(catalogue.jurisdiction(name).rules)
        assert catalogue.jurisdiction(name).countries == (name.upper(),)


@pytest.mark.parametrize("name", ["us-fedramp", "us-itar", "us-health"])
def test_variants_only_add_to_the_united_states(catalogue: Catalogue, name: str) -> None:
    assert set(catalogue.jurisdiction("us").rules) < set(catalogue.jurisdiction(name).rules)


def test_countries_of_concern_are_those_of_the_regulation(rules: dict[str, Rule]) -> None:
    # 28 CFR 202.601; Hong Kong and Macau by the definition of China, 202.208.
    within = set(rules["us/doj-transfer"].within)
    assert not within & CONCERN
    assert {"DE", "NO", "IN", "BR"} < within
    assert len(within) == 249 - len(CONCERN)


def test_criminal_justice_information_may_lie_in_canada(rules: dict[str, Rule]) -> None:
    # CJIS Security Policy 5.10.1.4 names members of the advisory board, and Canada is one.
    assert rules["us-fedramp/cjis-at-rest"].within == ("CA", "US")


def test_no_federal_log_rests_on_the_rescinded_memorandum(rules: dict[str, Rule]) -> None:
    # OMB M-26-14 rescinded M-21-31 on 2026-05-22.
    rule = rules["us-fedramp/omb-logs"]
    assert (rule.law.name, rule.min_days) == ("OMB M-26-14", 365)
    assert rule.law.confidence is Confidence.LOW


def test_the_united_kingdom_is_cited_in_its_amended_form(rules: dict[str, Rule]) -> None:
    # SI 2026/82: Art. 44A and 45A took the place of Art. 44 and 45 on 2026-02-05.
    rule = rules["gb/uk-gdpr-transfer"]
    assert (rule.law.article, rule.since) == ("Art. 44A, 45A", "2026-02-05")
    assert not {"US", "CA", "JP", "KR", "BR"} & set(rule.within)


def test_government_is_not_made_to_stay_in_the_united_kingdom(rules: dict[str, Rule]) -> None:
    # GOV.UK, 2025-02-05: OFFICIAL may be hosted overseas.
    placed = [
        rule
        for name, rule in rules.items()
        if name.startswith("gb/")
        and DataClass.GOVERNMENT in rule.data_classes
        and rule.demand in (Demand.INFERENCE_WITHIN, Demand.TRANSFER, Demand.DATA_AT_REST_WITHIN)
    ]
    assert placed
    assert all(len(rule.within) > 1 for rule in placed)


def test_italy_prefers_and_does_not_demand_italian_servers(rules: dict[str, Rule]) -> None:
    # Law 132/2025: Art. 5 is a preference in procurement; Art. 6(2) was deleted.
    assert rules["it/ai-law-preference"].demand is Demand.AI_DUTY
    assert "deleted" in (rules["it/ai-law-preference"].note or "")
    assert all(len(r.within) != 1 for name, r in rules.items() if name.startswith("it/"))


def test_the_tax_office_of_kenya_is_not_strategic(rules: dict[str, Rule]) -> None:
    # Reg. 26 as made names public finances; "revenue" stood in the draft only.
    rule = rules["ke/strategic-at-rest"]
    assert "public finances" in rule.text
    assert "revenue" not in rule.text


def test_the_two_years_of_israel_stand_in_regulation_17(rules: dict[str, Rule]) -> None:
    rule = rules["il/data-security-logs"]
    assert (rule.law.article, rule.min_days) == ("reg. 10, 17", 730)


def test_brazil_grants_the_union_and_waits_for_the_rest(rules: dict[str, Rule]) -> None:
    within = set(rules["br/lgpd-transfer"].within)
    assert {"BR", "DE", "SE"} < within
    assert not {"NO", "US", "GB"} & within


@pytest.mark.parametrize(
    "name",
    [
        "es/rdl-14-2019",
        "pl/kri-logs",
        "ca/event-logs",
        "mx/cnbv-cloud",
        "eg/ntra-cryptography",
    ],
)
def test_what_a_second_look_could_not_confirm_stays_memory(
    rules: dict[str, Rule], name: str
) -> None:
    assert rules[name].law.confidence is Confidence.MEMORY


@pytest.mark.parametrize("bill", ["Cyber Security and Resilience", "PL 2338", "Cyberbeveiligings"])
def test_a_bill_is_no_rule(catalogue: Catalogue, rules: dict[str, Rule], bill: str) -> None:
    assert not [name for name, rule in rules.items() if bill in rule.law.name]
    assert any(
        bill in line
        for name in catalogue.jurisdiction_ids()
        for line in catalogue.written(name).uncertain
    )


def test_nothing_unconfirmed_allows_what_nothing_confirmed_allows(catalogue: Catalogue) -> None:
    # Whatever rests on memory, taking it away never makes a target lawful in fewer places: for
    # each class of data some confirmed rule, or a rule for the own countries alone, holds.
    for name in catalogue.jurisdiction_ids():
        profile = catalogue.jurisdiction(name)
        for data in DataClass:
            reach = [
                set(rule.within)
                for rule in profile.rules
                if data in rule.data_classes
                and rule.demand in (Demand.INFERENCE_WITHIN, Demand.TRANSFER)
                and (
                    rule.law.confidence not in UNCONFIRMED
                    or set(rule.within) <= set(profile.countries)
                )
            ]
            assert reach, f"{name} lets {data.value} data run anywhere on memory alone"
