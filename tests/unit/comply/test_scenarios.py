"""What the sources say about the cases that people ask about first, and the traps in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from packager.catalogue import Catalogue
from packager.comply.transfers import Verdict, transfer
from packager.domain.decision import Decision, Status
from packager.domain.target import DataClass, Region

Decided = Callable[..., dict[str, Decision]]
Violated = Callable[..., set[str]]


@pytest.mark.parametrize(
    ("held", "refused"), [(["ISO 27001"], True), (["HDS v2"], False), (None, False)]
)
def test_french_health_data_needs_a_certified_host(
    violated: Violated, held: list[str] | None, refused: bool
) -> None:
    # Code de la santé publique, Art. L. 1111-8. What is not declared is left to the operator.
    facts = {"hosting_certifications": tuple(held) if held else None}
    found = violated("fr", ["aws/eu-west-3"], data="health", facts=facts)
    assert ("fr/hds" in found) == refused


def test_the_data_privacy_framework_is_not_assumed(decided: Decided) -> None:
    # Decision (EU) 2023/1795 covers certified recipients only, which no file of a release proves.
    found = decided("eu", ["aws/us-east-1"])["eu/gdpr-transfer"]
    assert found.status is Status.VIOLATED
    assert "Art. 46" in found.why


@pytest.mark.parametrize("region", ["aws/me-central-1", "aws/eu-central-1"])
def test_saudi_government_data_outside_the_kingdom(violated: Violated, region: str) -> None:
    # CST Cloud Computing Services Provisioning Regulations: levels of government content.
    found = violated("sa", [region], data="government")
    assert {"sa/government-processing", "sa/government-at-rest"} <= found


def test_ecc_2_2024_demands_no_place(catalogue: Catalogue) -> None:
    # NCA ECC-2:2024 dropped the control on hosting in the Kingdom.
    placed = [rule for rule in catalogue.jurisdiction("sa").rules if rule.within]
    assert placed
    assert not [rule for rule in placed if "ECC" in rule.law.name]


@pytest.mark.parametrize("card", ["nvidia-h100-sxm-80", "nvidia-h100-nvl-94"])
@pytest.mark.parametrize(("jurisdiction", "country"), [("cn", "CN"), ("ru", "RU")])
def test_an_h100_to_a_controlled_destination(
    violated: Violated, jurisdiction: str, country: str, card: str
) -> None:
    # EAR 3A090: total processing performance of 4800 or more.
    found = violated(jurisdiction, ["site/lab"], sites={"lab": country}, hardware=card)
    assert f"{jurisdiction}/accelerator-export" in found


def test_an_h100_in_germany_is_told_and_not_refused(decided: Decided) -> None:
    found = decided("de", ["aws/eu-central-1"], hardware="nvidia-h100-sxm-80")
    assert found["hardware/export-class"].status is Status.LEFT_TO_OPERATOR
    assert "3A090.a" in found["hardware/export-class"].why
    assert "no legal classification" in found["hardware/export-class"].why


def test_swiss_data_may_go_to_the_union_and_back(catalogue: Catalogue) -> None:
    # DPO, Annex 1; Decision 2000/518/EC.
    ch, eu = catalogue.jurisdiction("ch"), catalogue.jurisdiction("eu")
    assert transfer(ch, eu, DataClass.PERSONAL).verdict is Verdict.LAWFUL_ABROAD
    assert transfer(eu, ch, DataClass.PERSONAL).verdict is Verdict.LAWFUL_ABROAD


@pytest.mark.parametrize(
    ("region", "country"), [("aws/me-central-1", "AE"), ("alibaba/me-central-1", "SA")]
)
def test_one_label_in_two_countries(catalogue: Catalogue, region: str, country: str) -> None:
    assert catalogue.country_of(Region.parse(region)) == country


def test_norway_is_a_country(catalogue: Catalogue) -> None:
    assert catalogue.jurisdiction("no").countries == ("NO",)
    assert "NO" in catalogue.groups["eea"].countries


def test_the_ai_act_as_of_the_omnibus(catalogue: Catalogue) -> None:
    # Adopted 2026-06-29: high-risk systems of Annex III from 2027-12-02, Art. 50 from 2026-08-02.
    rules = {rule.id: rule for rule in catalogue.jurisdiction("de").rules}
    assert rules["ai-act-high-risk"].since == rules["ai-act-logs"].since == "2027-12-02"
    assert rules["ai-act-transparency"].since == "2026-08-02"


def test_adequacy_as_of_its_date(catalogue: Catalogue) -> None:
    # Brazil since 2026-01-26; the United States, Canada and Japan only for some recipients.
    adequate = set(catalogue.groups["eu-adequate"].countries)
    assert {"BR", "CH", "GB", "KR"} <= adequate
    assert not adequate & {"US", "CA", "JP"}


@pytest.mark.parametrize("region", ["site/cellar", "nobody/somewhere"])
def test_what_nobody_knows_is_refused_with_the_way_to_declare_it(
    decided: Decided, catalogue: Catalogue, region: str
) -> None:
    for name in catalogue.jurisdiction_ids():
        found = decided(name, [region])["target/places"]
        assert found.status is Status.VIOLATED
        assert "declare it" in (found.remedy or "")


def test_a_registry_that_nobody_knows_is_refused_everywhere(
    decided: Decided, catalogue: Catalogue
) -> None:
    for name in catalogue.jurisdiction_ids():
        profile = catalogue.jurisdiction(name)
        found = decided(
            name,
            ["site/lab"],
            sites={"lab": profile.countries[0]},
            registry="registry.internal/ml",
            data="government",
        )
        refused = [
            f"{profile.owner[rule.id]}/{rule.id}"
            for rule in profile.rules
            if rule.demand.value == "registry_within"
        ]
        assert refused, name
        for control in refused:
            assert found[control].status is Status.VIOLATED
            assert "registry_countries" in (found[control].remedy or "")
