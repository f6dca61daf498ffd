"""What is refused, what passes, and what would make it pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.comply.deciders import DECIDERS
from packager.comply.deciding import decide
from packager.comply.refusing import refuse
from packager.domain.decision import Decision, Status
from packager.domain.hardware import Precision
from packager.domain.jurisdiction import Demand
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.errors import PolicyRefusal

Decided = Callable[..., dict[str, Decision]]
Violated = Callable[..., set[str]]
Asking = Callable[..., tuple[PlannedTarget, ReleaseRequest]]


def test_every_demand_has_its_decider() -> None:
    assert set(DECIDERS) == set(Demand)


def test_the_example_passes_in_all_three_countries(violated: Violated) -> None:
    assert violated("de", ["aws/eu-central-1"], registry="registry.example.de/ml") == set()
    assert (
        violated("sa", ["alibaba/me-central-1"], platform="compose", registry="registry.example.sa")
        == set()
    )
    assert (
        violated("sg", ["aws/ap-southeast-1"], hardware="arm64-v8", registry="registry.example.sg")
        == set()
    )


def test_one_label_two_countries(violated: Violated) -> None:
    assert violated("sa", ["aws/me-central-1"]) == {"sa/pdpl-logs", "sa/pdpl-transfer"}
    assert violated("sa", ["alibaba/me-central-1"]) == set()


def test_the_nearest_regions_inside_are_proposed(decided: Decided) -> None:
    remedy = decided("de", ["aws/us-east-1"])["eu/gdpr-transfer"].remedy
    assert remedy is not None
    # Frankfurt is nearer to Virginia than Berlin is.
    assert "aws/eu-central-1" in remedy
    assert "azure/germanynorth" not in remedy
    assert "gcp/me-central2" in (
        decided("sa", ["aws/me-central-1"])["sa/pdpl-transfer"].remedy or ""
    )


def test_one_region_outside_is_enough(violated: Violated) -> None:
    assert "eu/gdpr-transfer" in violated("de", ["aws/eu-central-1", "aws/us-east-1"])


def test_a_target_without_regions_is_refused_where_places_are_demanded(decided: Decided) -> None:
    decision = decided("de", [])["eu/gdpr-transfer"]
    assert decision.status is Status.VIOLATED
    assert "no region" in decision.why


@pytest.mark.parametrize("data", ["public", "personal", "health", "financial", "government"])
@pytest.mark.parametrize("jurisdiction", ["eu", "de", "sa", "sg"])
def test_outside_is_refused_for_every_class_of_data(
    violated: Violated, jurisdiction: str, data: str
) -> None:
    assert violated(jurisdiction, ["aws/us-east-1"], data=data)


@pytest.mark.parametrize("region", ["site/lab", "stackit/eu01", "aws/eu-central-1-waw-1"])
def test_a_place_that_nobody_knows_is_never_inside(decided: Decided, region: str) -> None:
    found = decided("de", [region])
    assert found["target/places"].status is Status.VIOLATED
    assert found["eu/gdpr-transfer"].status is Status.VIOLATED
    remedy = found["target/places"].remedy or ""
    assert ("sites: {lab:" if region == "site/lab" else "regions/") in remedy


def test_an_unknown_place_is_refused_even_without_rules(
    catalogue: Catalogue, asking: Asking, tmp_path: Path
) -> None:
    (tmp_path / "jurisdictions").mkdir()
    (tmp_path / "jurisdictions" / "lax.yaml").write_text(
        "apiVersion: packager/v1\nkind: Jurisdiction\nid: lax\nname: Lax\ncountries: [DE]\n"
        "confidence: high\nreviewed: 2026-11-23\nrules: []\n"
    )
    lax = load_catalogue(tmp_path).jurisdiction("lax")
    target, request = asking("de", ["nobody/somewhere"])
    target = PlannedTarget(
        target.name, lax, target.hardware, target.regions, None, "localhost/m:1", target.where
    )
    by_control = {one.control: one for one in decide(target, request, catalogue.country_of)}
    assert by_control["target/places"].status is Status.VIOLATED


def test_a_declared_site_is_where_it_was_declared(decided: Decided, violated: Violated) -> None:
    assert violated("sa", ["site/riyadh"], sites={"riyadh": "SA"}) == set()
    assert "sa/pdpl-transfer" in violated("sa", ["site/dubai"], sites={"dubai": "AE"})
    told = decided("sa", ["site/riyadh"], sites={"riyadh": "SA"})["sa/pdpl-transfer"]
    assert "what you declared" in told.why


def test_an_adequate_country_is_lawful_but_left_to_the_operator(decided: Decided) -> None:
    zurich = decided("de", ["aws/eu-central-2"])["eu/gdpr-transfer"]
    assert zurich.status is Status.LEFT_TO_OPERATOR
    assert "CH" in zurich.why
    assert decided("de", ["aws/us-east-1"])["eu/gdpr-transfer"].status is Status.VIOLATED


def test_the_union_counts_norway_in(decided: Decided) -> None:
    assert decided("eu", ["azure/norwayeast"])["eu/gdpr-transfer"].status is Status.ENFORCED


def test_german_health_data_needs_its_attestation(decided: Decided) -> None:
    found = decided("de", ["aws/eu-central-1"], data="health")
    assert found["de/sgb5-health"].status is Status.ENFORCED
    assert "C5" in found["de/sgb5-c5"].why
    assert found["de/sgb5-c5"].status is Status.LEFT_TO_OPERATOR


def test_french_health_data_is_stricter_than_adequacy(violated: Violated) -> None:
    # Code de la santé publique, Art. L. 1111-8: the EEA, where GDPR alone lets Switzerland pass.
    refused = violated("fr", ["aws/eu-central-2"], data="health")
    assert refused == {"fr/csp-health", "fr/csp-health-at-rest"}
    assert violated("fr", ["aws/eu-central-2"], data="personal") == set()


def test_the_swiss_list_is_not_that_of_the_union(violated: Violated) -> None:
    # DPO, Annex 1: Korea and Brazil have an adequacy decision of the EU, and none of Switzerland.
    assert "ch/fadp-transfer" in violated("ch", ["aws/ap-northeast-2"])
    assert "eu/gdpr-transfer" not in violated("eu", ["aws/ap-northeast-2"])
    assert "ch/fadp-transfer" not in violated("ch", ["aws/eu-central-1"])


def test_compose_does_not_claim_to_pin_a_region(decided: Decided) -> None:
    assert (
        decided("sa", ["alibaba/me-central-1"], platform="compose")["sa/pdpl-transfer"].status
        is Status.LEFT_TO_OPERATOR
    )
    pinned = decided("sa", ["alibaba/me-central-1"])["sa/pdpl-transfer"]
    assert pinned.status is Status.ENFORCED
    assert pinned.by == ("targets/sa/x86-64-v3/kubernetes/base/deployment.yaml",)


@pytest.mark.parametrize(
    ("registry", "status"),
    [
        (None, Status.ENFORCED),
        ("registry.example.de/ml", Status.LEFT_TO_OPERATOR),
        ("registry.example.fr:5000/ml", Status.LEFT_TO_OPERATOR),
        ("localhost:5000/ml", Status.ENFORCED),
        ("127.0.0.1:5000/ml", Status.ENFORCED),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com/ml", Status.ENFORCED),
        ("europe-west3-docker.pkg.dev/project/ml", Status.ENFORCED),
        ("registry-intl.eu-central-1.aliyuncs.com/ml", Status.ENFORCED),
        ("eu-frankfurt-1.ocir.io/ml", Status.ENFORCED),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/ml", Status.VIOLATED),
        ("us-central1-docker.pkg.dev/project/ml", Status.VIOLATED),
        ("europe-docker.pkg.dev/project/ml", Status.VIOLATED),
        ("eu-central-1.dkr.ecr.evil.example.com/ml", Status.VIOLATED),
        ("registry.example.sa/ml", Status.VIOLATED),
        ("registry.example.com/ml", Status.VIOLATED),
        ("registry.example.io/ml", Status.VIOLATED),
        ("registry.internal:5000/ml", Status.VIOLATED),
        ("de/ml", Status.VIOLATED),
        ("192.0.2.7:5000/ml", Status.VIOLATED),
        ("docker.io/library", Status.VIOLATED),
        ("ghcr.io/acme", Status.VIOLATED),
    ],
)
def test_registries(decided: Decided, registry: str | None, status: Status) -> None:
    decision = decided("de", ["aws/eu-central-1"], registry=registry)["eu/registry-inside"]
    assert decision.status is status, decision.why
    assert (decision.remedy is None) == (status is not Status.VIOLATED)


@pytest.mark.parametrize(
    ("registry", "declared", "status"),
    [
        ("registry.example.com/ml", {"registry.example.com": "DE"}, Status.ENFORCED),
        ("registry.internal:5000/ml", {"registry.internal:5000": "DE"}, Status.ENFORCED),
        ("registry.internal:5000/ml", {"registry.internal": "DE"}, Status.ENFORCED),
        ("registry.example.de/ml", {"registry.example.de": "US"}, Status.VIOLATED),
        ("docker.io/library", {"docker.io": "DE"}, Status.VIOLATED),
    ],
)
def test_declared_registries(
    decided: Decided, registry: str, declared: dict[str, str], status: Status
) -> None:
    found = decided("de", ["aws/eu-central-1"], registry=registry, declared=declared)
    assert found["eu/registry-inside"].status is status


def test_an_unknown_registry_is_told_how_to_be_declared(decided: Decided) -> None:
    decision = decided("sa", ["gcp/me-central2"], registry="registry.internal/ml")
    assert "registry_countries: {registry.internal:" in (
        decision["sa/registry-inside"].remedy or ""
    )


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("Apache-2.0", Status.EVIDENCED),
        ("MIT OR Apache-2.0", Status.EVIDENCED),
        ("(MIT AND GPL-2.0-only WITH Classpath-exception-2.0)", Status.EVIDENCED),
        ("LicenseRef-acme", Status.LEFT_TO_OPERATOR),
        ("apache2", Status.VIOLATED),
        ("MIT OR Proprietary", Status.VIOLATED),
        ("AND", Status.VIOLATED),
        (None, Status.VIOLATED),
    ],
)
def test_licences(decided: Decided, written: str | None, status: Status) -> None:
    found = decided("de", ["aws/eu-central-1"], license_=written)["eu/model-license"]
    assert found.status is status


def test_a_misspelled_licence_gets_the_nearest_names(decided: Decided) -> None:
    found = decided("de", ["aws/eu-central-1"], license_="Apache-2")["eu/model-license"]
    assert "Apache-2.0" in (found.remedy or "")


def test_where_no_licence_is_demanded_none_is_missed(violated: Violated) -> None:
    assert violated("sg", ["aws/ap-southeast-1"], license_=None) == set()
    assert "sa/model-license" in violated(
        "sa", ["gcp/me-central2"], license_=None, data="government"
    )


def test_a_precision_that_the_hardware_lacks(decided: Decided) -> None:
    found = decided("de", ["aws/eu-central-1"], precision=Precision.FP16)["hardware/precision"]
    assert found.status is Status.VIOLATED
    assert "fp32, int8" in (found.remedy or "")


def test_a_precision_that_the_provider_has_no_kernels_for(decided: Decided) -> None:
    card = {"hardware": "nvidia-l4", "precision": Precision.INT8}
    found = decided("de", ["aws/eu-central-1"], **card)["hardware/precision"]
    assert found.status is Status.VIOLATED
    assert "CUDAExecutionProvider" in found.why
    card["precision"] = Precision.FP16
    assert (
        decided("de", ["aws/eu-central-1"], **card)["hardware/precision"].status is Status.EVIDENCED
    )


def test_a_platform_that_the_hardware_lacks(
    catalogue: Catalogue, asking: Asking, tmp_path: Path
) -> None:
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "only-compose.yaml").write_text(
        "apiVersion: packager/v1\nkind: Hardware\nid: only-compose\nname: Only Compose\n"
        "extends: x86-64-v3\ndeployment_platforms: [compose]\nplatform: linux/arm64\n"
        "wheel: {name: onnxruntime-gpu, version: 1.26.0}\nconfidence: low\nsources: [here]\n"
    )
    box = load_catalogue(tmp_path).hardware("only-compose")
    target, request = asking("de", ["aws/eu-central-1"])
    target = PlannedTarget(
        target.name, target.jurisdiction, box, target.regions, None, "localhost/m:1", target.where
    )
    found = {one.control: one for one in decide(target, request, catalogue.country_of)}
    assert found["hardware/platform"].status is Status.VIOLATED
    assert "compose" in (found["hardware/platform"].remedy or "")
    assert found["hardware/wheel"].status is Status.VIOLATED


def test_what_cannot_be_met_is_not_passed_over(decided: Decided) -> None:
    found = decided("sa", ["gcp/me-central2"], data="government")["sa/ncs-cryptography"]
    assert found.status is Status.LEFT_TO_OPERATOR
    assert "P-256" in found.why


def test_all_violations_at_once_sorted_with_what_to_do(decided: Decided) -> None:
    refused = decided("sa", ["aws/us-east-1"], registry="docker.io/x", data="government")
    fine = decided("de", ["aws/eu-central-1"])
    by_target = {
        "sa/x86-64-v3/kubernetes": tuple(reversed(refused.values())),
        "de/x86-64-v3/kubernetes": tuple(fine.values()),
    }
    with pytest.raises(PolicyRefusal) as caught:
        refuse(by_target)
    assert caught.value.exit_code == 3
    findings = caught.value.findings
    names = [finding.what.partition(":")[0] for finding in findings]
    violated = sorted(n for n, one in refused.items() if one.status is Status.VIOLATED)
    assert names == violated
    assert len(names) >= 5
    assert all(f.where == "sa/x86-64-v3/kubernetes" and f.next_step and f.got for f in findings)
    keys = next(finding for finding in findings if "government-keys" in finding.what)
    assert "from memory" in (keys.expected or "")


def test_nothing_violated_refuses_nothing(decided: Decided) -> None:
    refuse({"de/x86-64-v3/kubernetes": tuple(decided("de", ["aws/eu-central-1"]).values())})
