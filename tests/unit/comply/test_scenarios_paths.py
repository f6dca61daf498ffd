"""Scenarios of transfers, written from the sources: what a path opens, and what it never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from packager.domain.decision import Decision, Status

Violated = Callable[..., set[str]]
Decided = Callable[..., dict[str, Decision]]

LAWFUL: list[tuple[str, str, str, dict[str, list[str]], str]] = [
    # GDPR Art. 45, Implementing Decision (EU) 2023/1795: certified recipients in the US.
    ("de", "aws/us-east-1", "personal", {"eu/dpf": ["US"]}, "eu/gdpr-transfer"),
    ("ie", "azure/eastus", "financial", {"eu/dpf": ["US"]}, "eu/gdpr-transfer"),
    # GDPR Art. 46(2)(c), Implementing Decision (EU) 2021/914: clauses to any third country.
    ("nl", "aws/ap-southeast-1", "personal", {"eu/scc": ["SG"]}, "eu/gdpr-transfer"),
    # GDPR Art. 45, Decision 2002/2/EC: commercial organisations in Canada.
    ("se", "aws/ca-central-1", "personal", {"eu/canada-commercial": ["CA"]}, "eu/gdpr-transfer"),
    # DPO, Annex 1, in force 2024-09-15: recipients under the Swiss-US framework.
    ("ch", "gcp/us-central1", "personal", {"ch/dpf": ["US"]}, "ch/fadp-transfer"),
    # UK GDPR Art. 46; s. 119A DPA 2018: the International Data Transfer Agreement.
    ("gb", "aws/ap-south-1", "personal", {"gb/idta": ["IN"]}, "gb/uk-gdpr-transfer"),
    # CAC Order 16; PIPL Art. 38: standard contract, no critical infrastructure, middling volume.
    ("cn", "aws/ap-southeast-1", "personal", {"cn/standard-contract": ["SG"]}, "cn/pipl-transfer"),
    # PDPL Art. 29(2); Regulation on Personal Data Transfer, Art. 4: clauses of SDAIA.
    ("sa", "aws/eu-central-1", "personal", {"sa/scc": ["DE"]}, "sa/pdpl-transfer"),
    # KVKK Art. 9: standard contract, notified within five business days.
    ("tr", "aws/eu-central-1", "personal", {"tr/standard-contract": ["DE"]}, "tr/kvkk-transfer"),
    # PDP Regulations 2021, reg. 10 and 11: a contract that names the country.
    ("sg", "aws/ap-southeast-2", "health", {"sg/contract": ["AU"]}, "sg/pdpa-transfer"),
    # Privacy Act 1988, APP 8.1, s. 16C: reasonable steps, as a rule a contract.
    ("au", "aws/us-west-2", "financial", {"au/reasonable-steps": ["US"]}, "au/app-8"),
    # LGPD Art. 33; ANPD Resolution CD 19/2024: standard clauses.
    ("br", "aws/us-east-1", "personal", {"br/scc": ["US"]}, "br/lgpd-transfer"),
    # PIPEDA, Principle 4.1.3: comparable protection by contract.
    ("ca", "aws/us-east-1", "health", {"ca/contract": ["US"]}, "ca/pipeda-transfer"),
    # POPIA s. 72(1)(a): an agreement with adequate protection.
    ("za", "aws/eu-west-1", "personal", {"za/agreement": ["IE"]}, "za/popia-transfer"),
    # APPI Art. 28: equivalent measures of the recipient.
    ("jp", "aws/us-west-2", "personal", {"jp/equivalent-measures": ["US"]}, "jp/appi-transfer"),
]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # Code de la santé publique, L. 1111-8: health data is hosted in the EEA, clauses or not.
    (
        "fr",
        {"regions": ["aws/us-east-1"], "data": "health", "transfers": {"eu/scc": ["US"]}},
        "fr/csp-health",
    ),
    # SGB V § 393(2): adequacy under Art. 45 counts, clauses under Art. 46 do not.
    (
        "de",
        {"regions": ["aws/ap-south-1"], "data": "health", "transfers": {"eu/scc": ["IN"]}},
        "de/sgb5-health",
    ),
    # CST framework: government content stays in the Kingdom, whatever SDAIA's clauses say.
    (
        "sa",
        {"regions": ["aws/eu-central-1"], "data": "government", "transfers": {"sa/scc": ["DE"]}},
        "sa/government-processing",
    ),
    # PIPL Art. 38, CAC Order 16: important data and finance need the assessment, not the contract.
    (
        "cn",
        {
            "regions": ["aws/ap-southeast-1"],
            "data": "financial",
            "transfers": {"cn/standard-contract": ["SG"]},
        },
        "cn/pipl-transfer",
    ),
    # 152-FZ Art. 18(5): the first record is made in Russia; the notice is from memory besides.
    (
        "ru",
        {"regions": ["site/almaty"], "sites": {"almaty": "KZ"}, "transfers": {"ru/notice": ["KZ"]}},
        "ru/localisation-at-rest",
    ),
    # BRSA regulation Art. 25: primary and secondary systems of banks stand in Türkiye.
    (
        "tr",
        {
            "regions": ["aws/eu-central-1"],
            "data": "financial",
            "transfers": {"tr/standard-contract": ["DE"]},
        },
        "tr/brsa-processing",
    ),
    # SEBI circular of 2023-03-06: data resides and is processed in India.
    (
        "in",
        {
            "regions": ["aws/ap-southeast-1"],
            "data": "financial",
            "transfers": {"in/not-restricted": ["SG"]},
        },
        "in/sebi-processing",
    ),
    # GDPR Art. 46: clauses for India do not lead to China.
    (
        "de",
        {"regions": ["alibaba/cn-hangzhou"], "transfers": {"eu/scc": ["IN"]}},
        "eu/gdpr-transfer",
    ),
    # NDPA s. 43(2): CBPR is no basis; only an instrument that the NDPC approved.
    (
        "ng",
        {"regions": ["aws/eu-west-1"], "transfers": {"sg/cbpr": ["IE"]}},
        "ng/ndpa-transfer",
    ),
    # ANPD recognised the Union, not the EEA; without clauses Norway stays closed.
    ("br", {"regions": ["azure/norwayeast"]}, "br/lgpd-transfer"),
]


@pytest.mark.parametrize(("profile", "region", "data", "held", "control"), LAWFUL)
def test_a_path_that_the_law_knows(
    decided: Decided,
    violated: Violated,
    profile: str,
    region: str,
    data: str,
    held: dict[str, list[str]],
    control: str,
) -> None:
    assert control in violated(profile, [region], data=data)
    found = decided(profile, [region], data=data, transfers=held)[control]
    assert found.status is Status.LEFT_TO_OPERATOR, found.why
    assert [path.declared.mechanism for path in found.paths] == list(held)


@pytest.mark.parametrize(("profile", "asked", "control"), REFUSED)
def test_a_door_that_no_path_opens(
    violated: Violated, profile: str, asked: dict[str, Any], control: str
) -> None:
    assert control in violated(profile, **asked)
