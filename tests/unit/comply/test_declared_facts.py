"""Facts that only the user knows: believed as declared, refused when a rule demands otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from packager.catalogue import Catalogue
from packager.comply.deciding import decide
from packager.domain.decision import Decision, Status
from packager.domain.hardware import Confidence
from packager.domain.jurisdiction import CryptographyStandard, Demand, Law, Rule
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass, Region

Decided = Callable[..., dict[str, Decision]]
Asking = Callable[..., tuple[PlannedTarget, ReleaseRequest]]
LAW = Law("Law", "Art. 1", "https://example.org/law", Confidence.HIGH, "2026-11-23")


def one_rule(catalogue: Catalogue, asking: Asking, rule: Rule, **options: Any) -> Decision:
    """The decision on a rule of the test's own, beside those of Germany."""
    target, request = asking("de", ["aws/eu-central-1"], **options)
    jurisdiction = target.jurisdiction
    target = dataclasses.replace(
        target,
        jurisdiction=dataclasses.replace(
            jurisdiction,
            rules=(*jurisdiction.rules, rule),
            owner={**jurisdiction.owner, rule.id: "de"},
        ),
    )
    found = decide(target, request, catalogue.country_of)
    return next(one for one in found if one.control == f"de/{rule.id}")


def rule(demand: Demand, **more: Any) -> Rule:
    return Rule("own", demand, frozenset(DataClass), "Own.", LAW, **more)


@pytest.mark.parametrize(
    ("held", "status"),
    [
        (None, Status.LEFT_TO_OPERATOR),
        ((), Status.VIOLATED),
        (("ISO 27001",), Status.VIOLATED),
        (("ISO 27001", "hds  V2"), Status.EVIDENCED),
    ],
)
def test_french_health_data_on_a_host_without_hds(
    decided: Decided, held: tuple[str, ...] | None, status: Status
) -> None:
    # Code de la santé publique, Art. L. 1111-8.
    found = decided("fr", ["aws/eu-west-3"], data="health", facts={"hosting_certifications": held})[
        "fr/hds"
    ]
    assert found.status is status
    assert "HDS" in found.why
    assert (found.by == ("release.json",)) == (status is Status.EVIDENCED)


@pytest.mark.parametrize(
    ("region", "sites", "status"),
    [
        ("aws/eu-west-3", {}, Status.EVIDENCED),
        ("aws/us-east-1", {}, Status.VIOLATED),
        ("nobody/somewhere", {}, Status.VIOLATED),
        ("site/logs", {}, Status.VIOLATED),
        ("site/logs", {"logs": "DE"}, Status.EVIDENCED),
        ("site/logs", {"logs": "US"}, Status.VIOLATED),
    ],
)
def test_where_the_log_is_collected(
    decided: Decided, region: str, sites: dict[str, str], status: Status
) -> None:
    # GDPR, Art. 44 and 45: the log may carry personal data.
    found = decided(
        "de", ["aws/eu-central-1"], sites=sites, facts={"log_region": Region.parse(region)}
    )["eu/gdpr-logs"]
    assert found.status is status, found.why


def test_a_log_sink_inside_does_not_excuse_a_server_outside(decided: Decided) -> None:
    found = decided("de", ["aws/us-east-1"], facts={"log_region": Region("aws", "eu-central-1")})
    assert found["eu/gdpr-logs"].status is Status.VIOLATED


@pytest.mark.parametrize(
    ("held", "status"),
    [(None, Status.LEFT_TO_OPERATOR), ("SA", Status.EVIDENCED), ("US", Status.VIOLATED)],
)
def test_where_the_keys_are_held(decided: Decided, held: str | None, status: Status) -> None:
    # National Cryptographic Standards: keys of government data in the Kingdom.
    found = decided("sa", ["gcp/me-central2"], data="government", facts={"key_location": held})[
        "sa/government-keys"
    ]
    assert found.status is status


@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, Status.LEFT_TO_OPERATOR), ("FR", Status.EVIDENCED), ("US", Status.VIOLATED)],
)
def test_where_the_model_comes_from(
    catalogue: Catalogue, asking: Asking, origin: str | None, status: Status
) -> None:
    asked = rule(Demand.MODEL_ORIGIN_WITHIN, within=("DE", "FR"))
    found = one_rule(catalogue, asking, asked, facts={"model_origin": origin})
    assert found.status is status


@pytest.mark.parametrize(
    ("computed", "status"),
    [
        ("3A090.a (computed, no legal classification: TPP 15829)", Status.VIOLATED),
        ("3A090.b (computed, no legal classification: TPP 2400)", Status.LEFT_TO_OPERATOR),
        (None, Status.LEFT_TO_OPERATOR),
    ],
)
def test_an_accelerator_is_refused_only_where_a_rule_names_its_class(
    catalogue: Catalogue, asking: Asking, computed: str | None, status: Status
) -> None:
    # EAR, 15 CFR 742.6(a)(6): 3A090.a to a destination under control, as a profile would state it.
    target, request = asking("de", ["aws/eu-central-1"], hardware="nvidia-l4")
    asked = rule(Demand.ACCELERATOR_EXPORT, export_classes=("3A090.a",))
    target = dataclasses.replace(
        target,
        hardware=dataclasses.replace(target.hardware, export_class=computed),
        jurisdiction=dataclasses.replace(target.jurisdiction, rules=(asked,), owner={"own": "de"}),
    )
    found = {one.control: one for one in decide(target, request, catalogue.country_of)}
    assert found["de/own"].status is status
    assert found["hardware/export-class"].status is Status.LEFT_TO_OPERATOR
    if computed:
        assert "no legal classification" in found["de/own"].why


def test_a_processor_is_no_accelerator(decided: Decided) -> None:
    found = decided("de", ["aws/eu-central-1"])["hardware/export-class"]
    assert found.status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("standard", CryptographyStandard)
def test_cryptography_says_what_is_met_and_what_is_not(
    catalogue: Catalogue, asking: Asking, standard: CryptographyStandard
) -> None:
    found = one_rule(catalogue, asking, rule(Demand.CRYPTOGRAPHY, standard=standard))
    assert found.status is Status.LEFT_TO_OPERATOR
    assert "Satisfied: " in found.why
    assert "Not satisfied: " in found.why
