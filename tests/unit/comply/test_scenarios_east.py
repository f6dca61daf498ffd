"""Scenarios from eastern law, each from its source and not from the code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from packager.domain.decision import Decision, Status

Decided = Callable[..., dict[str, Decision]]
Violated = Callable[..., set[str]]


@pytest.mark.parametrize(
    ("jurisdiction", "region", "data", "refusing"),
    [
        # 152-FZ Art. 18(5): personal data first recorded in a database abroad.
        ("ru", "aws/eu-central-1", "personal", "ru/localisation-at-rest"),
        # PIPL Art. 38: inferred in Singapore without assessment, contract or certification.
        ("cn", "aws/ap-southeast-1", "personal", "cn/pipl-transfer"),
        # Hong Kong is outside the mainland.
        ("cn", "alibaba/cn-hongkong", "health", "cn/csl-at-rest"),
        # RBI circular of 2018-04-06: payment data stored in India only.
        ("in", "aws/ap-southeast-1", "financial", "in/rbi-payment-at-rest"),
        # SEBI circular of 2023-03-06: processed in India, not only stored.
        ("in", "azure/southeastasia", "financial", "in/sebi-processing"),
        # CERT-In directions of 2022: logs within Indian jurisdiction, whatever the data.
        ("in", "aws/us-east-1", "public", "in/cert-in-logs-inside"),
        # GR 71/2019 Art. 20: operators with public scope.
        ("id", "aws/ap-southeast-1", "government", "id/public-scope-processing"),
        # POJK 11/2022 Art. 35; the label ap-southeast-3 is Malaysia with Alibaba Cloud.
        ("id", "alibaba/ap-southeast-3", "financial", "id/ojk-processing"),
        # Decree 53 Art. 26, localisation kept by Law 116/2025.
        ("vn", "aws/ap-southeast-1", "personal", "vn/cybersecurity-at-rest"),
        # PDPA s. 129: the list of countries is gone.
        ("my", "aws/ap-southeast-1", "personal", "my/pdpa-transfer"),
        # PDPA s. 28, 29: inference abroad is a transfer, and there is no list.
        ("th", "aws/ap-southeast-1", "health", "th/pdpa-transfer"),
        # ICT Health Law Art. 13; the label me-central-1 is Saudi Arabia with Alibaba Cloud.
        ("ae", "alibaba/me-central-1", "health", "ae/health-processing"),
        # DIFC: California is listed, the United States are not.
        ("ae-difc", "aws/us-west-1", "personal", "ae-difc/difc-transfer"),
        # Federal health law holds in the free zones too.
        ("ae-adgm", "aws/eu-west-1", "health", "ae/health-processing"),
        # QCB Cloud Computing Regulation Art. 21.4: processed in Qatar; me-central2 is Dammam.
        ("qa", "gcp/me-central2", "financial", "qa/qcb-processing"),
        # CSAP, all tiers: systems and backups in Korea, although the EEA is recognised.
        ("kr", "aws/eu-central-1", "government", "kr/csap-processing"),
        # PIPC 2025-09-16: personal credit information is excluded.
        ("kr", "aws/eu-central-1", "financial", "kr/pipa-excluded-transfer"),
        # EMR Regulations Art. 8: cloud storage of medical records in Taiwan.
        ("tw", "aws/ap-northeast-1", "health", "tw/emr-at-rest"),
        # Outsourcing rules: clients' data of banks in Taiwan.
        ("tw", "gcp/asia-east2", "financial", "tw/fsc-processing"),
        # My Health Records Act s. 77.
        ("au", "aws/ap-southeast-6", "health", "au/my-health-at-rest"),
        # Cloud First 2023: RESTRICTED onshore; Australia is not.
        ("nz", "aws/ap-southeast-2", "government", "nz/restricted-at-rest"),
        # Law 94-V Art. 12(2): the base stands in Kazakhstan.
        ("kz", "aws/eu-central-1", "personal", "kz/localisation-at-rest"),
        # APPI Art. 28: Korea is on no list.
        ("jp", "aws/ap-northeast-2", "personal", "jp/appi-transfer"),
    ],
)
def test_refused(
    violated: Violated, jurisdiction: str, region: str, data: str, refusing: str
) -> None:
    assert refusing in violated(jurisdiction, [region], data=data)


@pytest.mark.parametrize(
    ("jurisdiction", "region", "control"),
    [
        # PIPA Art. 28-8(1)5: the EEA, Norway included.
        ("kr", "aws/eu-central-1", "kr/pipa-transfer"),
        ("kr", "azure/norwayeast", "kr/pipa-transfer"),
        # DIFC list: the United Kingdom and Singapore.
        ("ae-difc", "aws/eu-west-2", "ae-difc/difc-transfer"),
        ("ae-difc", "aws/ap-southeast-1", "ae-difc/difc-transfer"),
        # ADGM: whatever the Commission holds adequate.
        ("ae-adgm", "aws/eu-west-2", "ae-adgm/adgm-transfer"),
    ],
)
def test_abroad_with_a_legal_path_and_its_duties(
    decided: Decided, violated: Violated, jurisdiction: str, region: str, control: str
) -> None:
    assert not violated(jurisdiction, [region], data="personal")
    found = decided(jurisdiction, [region], data="personal")[control]
    assert found.status is Status.LEFT_TO_OPERATOR
    assert "abroad" in found.why


@pytest.mark.parametrize(
    ("jurisdiction", "country", "control"),
    [("cn", "CN", "cn/accelerator-export"), ("ru", "RU", "ru/accelerator-export")],
)
def test_a_controlled_accelerator_to_a_controlled_destination(
    violated: Violated, jurisdiction: str, country: str, control: str
) -> None:
    # 3A090: the computed class of the L4 is 3A090.a by its performance density.
    place = {"regions": ["site/lab"], "sites": {"lab": country}}
    assert control in violated(jurisdiction, **place, hardware="nvidia-l4")
    assert not violated(jurisdiction, **place, hardware="x86-64-v3")


@pytest.mark.parametrize(
    ("jurisdiction", "region", "data", "words"),
    [
        ("cn", "aws/cn-north-1", "government", "no SM2, SM3 or SM4 is used"),
        ("kr", "aws/ap-northeast-2", "government", "no module validated under the KCMVP"),
    ],
)
def test_national_cryptography_is_not_passed_over(
    decided: Decided, jurisdiction: str, region: str, data: str, words: str
) -> None:
    why = " ".join(one.why for one in decided(jurisdiction, [region], data=data).values())
    assert words in why


def test_a_region_known_from_memory_is_not_inside(violated: Violated) -> None:
    assert "target/places" in violated("ru", ["yandex/ru-central1"])
    assert "target/places" in violated("cn", ["huawei/cn-north-4"])


def test_what_is_from_memory_carries_its_mark_into_the_decision(decided: Decided) -> None:
    found = decided("au", ["aws/ap-southeast-2"], data="health")["au/my-health-at-rest"]
    assert found.law is not None
    assert (found.law.source, found.law.confidence.value) == ("memory", "memory")
