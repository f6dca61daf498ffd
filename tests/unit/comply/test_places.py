"""What is known of places, providers, base and model, whatever the rules say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from packager.domain.decision import Decision, Status
from packager.domain.target import Region

Decided = Callable[..., dict[str, Decision]]
PINNED = {
    "reference": "registry.example.de/base@sha256:" + "0" * 64,
    "digest": "sha256:" + "0" * 64,
}


def test_a_cloud_in_france_may_be_under_the_law_of_another_country(decided: Decided) -> None:
    found = decided("fr", ["azure/francecentral"], data="health")["target/providers"]
    assert found.status is Status.LEFT_TO_OPERATOR
    assert "azure/francecentral (US)" in found.why
    assert "from memory" in found.why
    room = decided("fr", ["site/paris"], sites={"paris": "FR"})["target/providers"]
    assert room.status is Status.NOT_APPLICABLE
    assert decided("us", ["aws/us-east-1"])["target/providers"].status is Status.EVIDENCED


def test_an_image_from_nothing_and_one_on_a_base(decided: Decided) -> None:
    none = decided("de", ["aws/eu-central-1"])["target/base"]
    assert none.status is Status.EVIDENCED
    assert "none, built from nothing" in none.why
    pinned = decided("de", ["aws/eu-central-1"], base=PINNED)
    assert pinned["target/base"].status is Status.LEFT_TO_OPERATOR
    # What a foreign base reports to its maker is not known here.
    assert pinned["eu/gdpr-telemetry"].status is Status.LEFT_TO_OPERATOR
    loose = decided("de", ["aws/eu-central-1"], base={"reference": "registry.example.de/base:1"})
    assert loose["target/base"].status is Status.VIOLATED


@pytest.mark.parametrize(
    ("base", "status"),
    [
        ({}, Status.EVIDENCED),
        (PINNED, Status.LEFT_TO_OPERATOR),
        ({**PINNED, "origin": "DE"}, Status.EVIDENCED),
        ({**PINNED, "origin": "CN"}, Status.VIOLATED),
    ],
)
def test_taiwan_asks_where_a_base_comes_from(
    decided: Decided, base: dict[str, str], status: Status
) -> None:
    # Cyber Security Management Act, as amended in 2025: dangerous products.
    place = {"data": "government", "sites": {"taipei": "TW"}}
    found = decided("tw", ["site/taipei"], base=base, **place)["tw/csma-base"]
    assert found.status is status


@pytest.mark.parametrize(
    ("region", "status"),
    [
        ("aws/eu-central-1", Status.ENFORCED),
        ("aws/us-east-1", Status.VIOLATED),
        ("nobody/somewhere", Status.VIOLATED),
    ],
)
def test_where_metrics_go(decided: Decided, region: str, status: Status) -> None:
    facts = {"telemetry_region": Region.parse(region)}
    found = decided("de", ["aws/eu-central-1"], facts=facts)["eu/gdpr-telemetry"]
    assert found.status is status
    assert (found.remedy is not None) == (status is Status.VIOLATED)


def test_who_made_the_model_is_on_record(decided: Decided) -> None:
    assert decided("cn", ["alibaba/cn-hangzhou"])["target/model-origin"].status is (
        Status.LEFT_TO_OPERATOR
    )
    known = decided("cn", ["alibaba/cn-hangzhou"], facts={"model_origin": "US"})
    assert known["target/model-origin"].status is Status.EVIDENCED


def test_the_list_of_certificates_is_read_as_complete_and_says_so(decided: Decided) -> None:
    silent = decided("fr", ["aws/eu-west-3"], data="health")["fr/hds"]
    assert silent.status is Status.LEFT_TO_OPERATOR
    assert "complete list" in silent.why
    lacking = decided(
        "fr", ["aws/eu-west-3"], data="health", facts={"hosting_certifications": ("ISO 27001",)}
    )["fr/hds"]
    assert lacking.status is Status.VIOLATED
    assert "complete list" in lacking.why
    assert lacking.remedy is not None
    assert "leave `certifications` out" in lacking.remedy
