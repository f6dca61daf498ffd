"""Scenarios from western law, each from its source and not from the code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from packager.domain.decision import Decision, Status

Decided = Callable[..., dict[str, Decision]]
Violated = Callable[..., set[str]]


@pytest.mark.parametrize(
    ("jurisdiction", "region", "data", "refusing"),
    [
        # GDPR Art. 45: the framework with the United States covers certified recipients only.
        ("nl", "aws/us-east-1", "personal", "eu/gdpr-transfer"),
        ("be", "azure/eastus", "health", "eu/gdpr-transfer"),
        # SCCO: level 3 belongs in the government cloud in Poland.
        ("pl", "gcp/europe-west3", "government", "pl/scco-place"),
        # Law 40/2015, Art. 46 bis: registers and health users stay in the Union.
        ("es", "aws/eu-central-2", "health", "es/rdl-14-2019"),
        # ACN 21007/24: critical data in the Union, although Switzerland is adequate.
        ("it", "gcp/europe-west6", "government", "it/acn-place"),
        # UK GDPR Art. 45A: India is on no list.
        ("gb", "aws/ap-south-1", "personal", "gb/uk-gdpr-transfer"),
        # NHS guidance: the United Kingdom, the EEA or adequate.
        ("gb", "aws/us-east-1", "health", "gb/nhs-offshoring"),
        # KVKK Art. 9: no country has been found adequate, the EU included.
        ("tr", "aws/eu-central-1", "personal", "tr/kvkk-transfer"),
        # BRSA Art. 25: primary and secondary systems of banks in Türkiye.
        ("tr", "azure/westeurope", "financial", "tr/brsa-processing"),
        # 28 CFR 202.601, and 202.208 with 202.250: Hong Kong is China.
        ("us", "alibaba/cn-hongkong", "personal", "us/doj-transfer"),
        ("us-health", "aws/cn-north-1", "health", "us/doj-transfer"),
        # DFARS 252.239-7010: in the United States, not even in Canada.
        ("us-fedramp", "aws/ca-central-1", "government", "us-fedramp/dod-processing"),
        # 22 CFR 120.54: inference needs the data in the clear, which is an export.
        ("us-itar", "aws/eu-west-2", "personal", "us-itar/itar-processing"),
        # White paper on data sovereignty: protected federal data in Canada.
        ("ca", "aws/us-east-1", "government", "ca/federal-processing"),
        # IN GSI/PR 8/2025: reserved and secret information only in Brazil.
        ("br", "aws/eu-south-2", "government", "br/gsi-processing"),
        # Law 21.719, Art. 27: Brazil has not been found adequate.
        ("cl", "aws/sa-east-1", "personal", "cl/data-transfer"),
        # National Policy on Data and Cloud: government in South Africa.
        ("za", "aws/eu-west-1", "government", "za/cloud-policy-processing"),
        # NITDA guidelines s. 14: sovereign data in Nigeria.
        ("ng", "aws/af-south-1", "government", "ng/sovereign-processing"),
        # General Regulations reg. 26: health care through a centre or a copy in Kenya.
        ("ke", "gcp/africa-south1", "health", "ke/strategic-at-rest"),
        # Law 151/2020 Art. 14: a licence, and no list of countries.
        ("eg", "azure/uaenorth", "personal", "eg/pdpl-transfer"),
    ],
)
def test_refused(
    violated: Violated, jurisdiction: str, region: str, data: str, refusing: str
) -> None:
    assert refusing in violated(jurisdiction, [region], data=data)


@pytest.mark.parametrize(
    ("jurisdiction", "region", "data"),
    [
        # GDPR Art. 1(3): personal data moves freely inside the Union.
        ("nl", "aws/eu-north-1", "personal"),
        # Art. L. 1111-8 binds France; Irish health data may go to Frankfurt.
        ("ie", "aws/eu-central-1", "health"),
        # KNF: the old communiqué is no rule; DORA knows no place.
        ("pl", "aws/eu-central-1", "financial"),
        # UK GDPR Art. 45A: the EEA is approved.
        ("gb", "aws/eu-west-1", "personal"),
        # NHS guidance: the EEA will do.
        ("gb", "azure/westeurope", "health"),
        # GOV.UK 2025-02-05: OFFICIAL may be hosted overseas.
        ("gb", "aws/eu-west-1", "government"),
        # Transfer Regulations reg. 1: no less protection than in Israel.
        ("il", "aws/eu-central-1", "health"),
        # ANPD Resolution 32/2026: the Union is adequate.
        ("br", "aws/eu-west-3", "personal"),
        # P-39.1 s. 17: another province takes an assessment, and is not forbidden.
        ("ca-qc", "aws/ca-west-1", "personal"),
    ],
)
def test_lawful(violated: Violated, jurisdiction: str, region: str, data: str) -> None:
    assert violated(jurisdiction, [region], data=data) == set()


def test_criminal_justice_information_in_canada_breaks_other_rules_only(
    decided: Decided,
) -> None:
    # CJIS Security Policy 5.10.1.4 counts Canada in; the rules of DoD do not.
    found = decided("us-fedramp", ["aws/ca-central-1"], data="government")
    assert found["us-fedramp/cjis-at-rest"].status is not Status.VIOLATED
    assert found["us-fedramp/dod-at-rest"].status is Status.VIOLATED


def test_the_union_is_not_the_eea_for_brazil(violated: Violated) -> None:
    # ANPD Resolution 32/2026, of which only the Union was confirmed: Norway is not assumed.
    assert "br/lgpd-transfer" in violated("br", ["azure/norwayeast"], data="personal")


def test_another_province_is_told_and_left_to_the_operator(decided: Decided) -> None:
    # P-39.1 s. 17.
    decision = decided("ca-qc", ["aws/ca-west-1"])["ca-qc/law25-assessment"]
    assert decision.status is Status.LEFT_TO_OPERATOR
    assert "Other provinces count as outside" in decision.why


def test_a_local_zone_in_lagos_is_not_assumed_to_be_in_nigeria(violated: Violated) -> None:
    # It is known from memory only, and carries the label of a South African region.
    assert "ng/ndpa-transfer" in violated("ng", ["aws/af-south-1-los-1"])


def test_azure_government_waits_for_a_table_of_your_own(violated: Violated) -> None:
    assert "us-fedramp/dod-processing" in violated(
        "us-fedramp", ["azure/usgovvirginia"], data="government"
    )


def test_no_cloud_region_in_turkiye_and_a_room_of_your_own_instead(decided: Decided) -> None:
    remedy = decided("tr", ["aws/eu-central-1"])["tr/kvkk-transfer"].remedy or ""
    assert "site/<name>" in remedy
    assert "TR" in remedy


@pytest.mark.parametrize("jurisdiction", ["us-fedramp", "ca"])
def test_validated_modules_are_asked_for_and_not_claimed(
    decided: Decided, jurisdiction: str
) -> None:
    # NIST CMVP: 140-2 went to the historical list in September 2026.
    control = {"us-fedramp": "us-fedramp/fips-140-3", "ca": "ca/cmvp"}[jurisdiction]
    decision = decided(jurisdiction, ["aws/ca-central-1"], data="government")[control]
    assert decision.status is Status.LEFT_TO_OPERATOR
    assert "holds no validated module" in decision.why
