"""The built-in catalogue: what must stay true of it, and the traps that the facts hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.catalogue.linting import lint
from packager.catalogue.showing import describe, describe_as_text
from packager.domain.hardware import Confidence, Precision, Proof
from packager.domain.jurisdiction import Demand
from packager.domain.target import DataClass, Region
from packager.errors import InputError

TODAY = "2026-11-24"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def test_it_is_lint_clean(catalogue: Catalogue) -> None:
    assert lint(catalogue, TODAY) == ()


def test_it_has_what_the_examples_need(catalogue: Catalogue) -> None:
    assert {"eu", "de", "sa", "sg"} <= set(catalogue.jurisdiction_ids())
    assert {"x86-64-v3", "arm64-v8", "nvidia-l4"} <= set(catalogue.hardware_ids())


def test_every_profile_can_be_read_and_shown(catalogue: Catalogue) -> None:
    for name in (*catalogue.jurisdiction_ids(), *catalogue.hardware_ids()):
        profile = catalogue.find(name)
        assert describe(profile)["id"] == name
        assert describe_as_text(profile).startswith(name)


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("aws/me-central-1", "AE"),
        ("alibaba/me-central-1", "SA"),
        ("aws/eu-west-1", "IE"),
        ("alibaba/eu-west-1", "GB"),
        ("aws/ap-southeast-3", "ID"),
        ("alibaba/ap-southeast-3", "MY"),
        ("gcp/me-central1", "QA"),
        ("gcp/me-central2", "SA"),
        ("azure/norwayeast", "NO"),
        ("aws/eusc-de-east-1", "DE"),
        ("gcp/me-central-1", None),
        ("site/riyadh", None),
        ("nobody/eu-central-1", None),
    ],
)
def test_a_label_means_nothing_without_its_provider(
    catalogue: Catalogue, region: str, country: str | None
) -> None:
    assert catalogue.country_of(Region.parse(region)) == country


def test_a_local_zone_is_not_in_the_country_of_its_label(catalogue: Catalogue) -> None:
    # Warsaw carries the label of Frankfurt. It is known from memory only, so it counts as unknown.
    assert catalogue.country_of(Region("aws", "eu-central-1-waw-1")) is None
    assert catalogue.places[Region("aws", "eu-central-1-waw-1")].country == "PL"


def test_what_is_known_from_memory_lies_in_no_jurisdiction(catalogue: Catalogue) -> None:
    unsure = {place.region for place in catalogue.places.values() if not place.confirmed}
    assert unsure
    for name in catalogue.jurisdiction_ids():
        assert not catalogue.jurisdiction(name).regions & unsure


def test_norway_is_no_boolean(catalogue: Catalogue) -> None:
    assert "NO" in catalogue.jurisdiction("eu").countries
    assert "NO" in catalogue.groups["eea"].countries


def test_germany_carries_the_rules_of_the_union(catalogue: Catalogue) -> None:
    german, union = catalogue.jurisdiction("de"), catalogue.jurisdiction("eu")
    assert set(union.rules) < set(german.rules)
    assert german.owner["gdpr-transfer"] == "eu"
    assert german.owner["sgb5-health"] == "de"
    assert german.countries == ("DE",)
    assert Region("aws", "eu-central-1") in german.regions
    assert Region("aws", "eu-west-1") not in german.regions
    assert set(union.uncertain) < set(german.uncertain)


def test_no_saudi_rule_about_places_rests_on_ecc(catalogue: Catalogue) -> None:
    # ECC-2:2024 removed the control of ECC-1 that asked for hosting in the Kingdom.
    resting = [rule for rule in catalogue.jurisdiction("sa").rules if "ECC" in rule.law.name]
    assert resting
    assert {rule.demand for rule in resting} == {Demand.LOG_RETENTION}


def test_the_log_floor_of_the_ai_act_has_its_date(catalogue: Catalogue) -> None:
    rule = next(rule for rule in catalogue.jurisdiction("eu").rules if rule.id == "ai-act-logs")
    assert (rule.min_days, rule.since) == (183, "2027-12-02")


def test_ninety_days_are_no_minimum_in_germany(catalogue: Catalogue) -> None:
    rule = next(rule for rule in catalogue.jurisdiction("de").rules if rule.id == "bsi-logs")
    assert (rule.min_days, rule.max_days) == (None, 90)


def test_adequacy_that_holds_for_some_recipients_only_is_left_out(catalogue: Catalogue) -> None:
    assert not {"US", "CA", "JP"} & set(catalogue.groups["eu-adequate"].countries)
    assert {"BR", "GB", "CH", "KR"} <= set(catalogue.groups["eu-adequate"].countries)


def test_what_is_from_memory_says_so_in_both_places(catalogue: Catalogue) -> None:
    for name in catalogue.jurisdiction_ids():
        for rule in catalogue.jurisdiction(name).rules:
            assert (rule.law.source == "memory") == (rule.law.confidence is Confidence.MEMORY)


def test_every_rule_binds_some_data(catalogue: Catalogue) -> None:
    for name in catalogue.jurisdiction_ids():
        rules = catalogue.jurisdiction(name).rules
        assert all(rule.data_classes for rule in rules)
        covered = frozenset[DataClass]().union(
            *(
                rule.data_classes
                for rule in rules
                if rule.demand in (Demand.INFERENCE_WITHIN, Demand.TRANSFER)
            )
        )
        assert covered == frozenset(DataClass), f"{name} lets some class of data run anywhere"


def test_the_generic_server_promises_no_more_than_its_level(catalogue: Catalogue) -> None:
    server = catalogue.hardware("x86-64-v3")
    assert server.instructions == {"avx2", "fma"}
    assert set(server.precisions) == {Precision.FP32, Precision.INT8}
    assert (server.wheel.name, server.wheel.version) == ("onnxruntime", "1.28.0")
    assert str(server.platform) == "linux/amd64"
    assert server.export_class is None


def test_the_l4(catalogue: Catalogue) -> None:
    card = catalogue.hardware("nvidia-l4")
    assert card.accelerator is not None
    assert (card.wheel.name, card.wheel.version) == ("onnxruntime-gpu", "1.26.0")
    assert (card.accelerator.driver_floor, card.accelerator.cuda) == ("525", "12")
    assert card.accelerator.kubernetes_resource == "nvidia.com/gpu"
    assert card.accelerator.runtime_class == "nvidia"
    assert card.node_labels["nvidia.com/gpu.product"] == "NVIDIA-L4"
    assert card.export_class is not None
    assert card.export_class.startswith("3A090.a (computed, no legal classification: TPP 1940")


def test_nothing_is_called_proven_that_was_not_shown(catalogue: Catalogue) -> None:
    for name in catalogue.hardware_ids():
        profile = catalogue.hardware(name)
        assert profile.proven is Proof.NEVER or profile.proven_where


@pytest.mark.parametrize("ask", ["jurisdiction", "hardware", "find"])
def test_an_unknown_id_gets_the_nearest_names_and_the_list(catalogue: Catalogue, ask: str) -> None:
    wrong = "nvidia-l5" if ask == "hardware" else "saa"
    with pytest.raises(InputError) as caught:
        getattr(catalogue, ask)(wrong)
    finding = caught.value.findings[0]
    assert repr(wrong) in finding.what
    assert ("nvidia-l4" if ask == "hardware" else "sa") in (finding.next_step or "")
    assert finding.expected


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_catalogue(tmp_path / "nowhere")
