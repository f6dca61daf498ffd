"""Traps in the facts of the eastern profiles: what was corrected must not creep back."""

from __future__ import annotations

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.domain.hardware import Confidence
from packager.domain.jurisdiction import CryptographyStandard, Demand, Rule
from packager.domain.target import DataClass, Region

EAST = (
    *("ae", "ae-adgm", "ae-difc", "au", "cn", "id", "in", "jp", "kr", "kz", "my", "nz", "qa"),
    *("ru", "sa", "sg", "th", "tw", "vn"),
)
ABROAD_BY_LAW = {"ae-adgm", "ae-difc", "kr"}
UNCONFIRMED = (Confidence.MEMORY, Confidence.LOW)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def rules(catalogue: Catalogue) -> dict[str, Rule]:
    """`profile/rule` → rule, as written."""
    return {f"{name}/{rule.id}": rule for name in EAST for rule in catalogue.written(name).rules}


@pytest.mark.parametrize("name", sorted(set(EAST) - ABROAD_BY_LAW))
def test_no_data_goes_abroad_where_no_list_was_confirmed(catalogue: Catalogue, name: str) -> None:
    profile = catalogue.jurisdiction(name)
    for rule in profile.rules:
        if rule.demand not in (Demand.MODEL_ORIGIN_WITHIN, Demand.BASE_ORIGIN_WITHIN):
            assert set(rule.within) <= set(profile.countries), rule.id


@pytest.mark.parametrize("name", sorted(ABROAD_BY_LAW))
def test_what_goes_abroad_rests_on_more_than_memory(catalogue: Catalogue, name: str) -> None:
    profile = catalogue.jurisdiction(name)
    beyond = [rule for rule in profile.rules if set(rule.within) - set(profile.countries)]
    assert {rule.demand for rule in beyond} == {Demand.TRANSFER, Demand.LOGS_WITHIN}
    assert not [rule.id for rule in beyond if rule.law.confidence in UNCONFIRMED]


def test_korea_recognises_the_eea_but_not_for_credit_information(rules: dict[str, Rule]) -> None:
    recognised = rules["kr/pipa-transfer"]
    assert {"DE", "NO", "IS", "LI", "KR"} < set(recognised.within)
    assert DataClass.FINANCIAL not in recognised.data_classes
    assert rules["kr/pipa-excluded-transfer"].within == ("KR",)


def test_the_dubai_centre_lists_california_and_not_the_united_states(
    rules: dict[str, Rule],
) -> None:
    within = set(rules["ae-difc/difc-transfer"].within)
    assert {"GB", "CA", "SG", "DE"} < within
    assert "US" not in within


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        ("cn/csl-logs", 184),  # any six months, 181 to 184 days
        ("kr/access-logs", 366),  # the law counts in years
        ("kr/sensitive-access-logs", 731),
        ("in/cert-in-logs", 180),
        ("ru/ori-records", 1096),  # three years since 2026, no longer one
        ("th/cca-logs", 90),
        ("au/ism-logs", 366),
        ("tw/emr-records", 1827),
        ("vn/cybersecurity-logs", 366),
        ("my/rmit-logs", 1096),
    ],
)
def test_periods_that_hold_in_the_longest_case(
    rules: dict[str, Rule], rule: str, least: int
) -> None:
    assert (rules[rule].min_days, rules[rule].max_days) == (least, None)


def test_three_years_of_logs_in_malaysia_bind_finance_only(rules: dict[str, Rule]) -> None:
    assert rules["my/rmit-logs"].data_classes == {DataClass.FINANCIAL}
    assert rules["my/rmit-logs"].law.confidence is Confidence.MEMORY


def test_articles_of_the_chinese_law_have_their_new_numbers(rules: dict[str, Rule]) -> None:
    assert rules["cn/csl-logs"].law.article.startswith("Art. 23(3)")
    assert rules["cn/csl-at-rest"].law.article.startswith("Art. 39")


def test_hong_kong_is_not_inside_the_mainland(catalogue: Catalogue) -> None:
    china = catalogue.jurisdiction("cn")
    assert Region("alibaba", "cn-shanghai") in china.regions
    assert Region("alibaba", "cn-hongkong") not in china.regions


def test_the_repealed_law_of_vietnam_is_named_as_such(rules: dict[str, Rule]) -> None:
    assert "116/2025" in rules["vn/cybersecurity-at-rest"].law.name
    assert "repealed" in rules["vn/cybersecurity-logs"].law.name


@pytest.mark.parametrize(
    ("rule", "standard"),
    [
        ("cn/commercial-cryptography", CryptographyStandard.SM),
        ("ru/gost", CryptographyStandard.GOST),
        ("kr/kcmvp", CryptographyStandard.KCMVP),
        ("jp/cryptrec", CryptographyStandard.RECOMMENDED_ALGORITHMS),
        ("au/ism-cryptography", CryptographyStandard.APPROVED_PRODUCTS),
    ],
)
def test_national_cryptography_is_named(
    rules: dict[str, Rule], rule: str, standard: CryptographyStandard
) -> None:
    assert rules[rule].standard is standard


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("huawei/cn-north-4", "CN"),
        ("huawei/me-east-1", "SA"),  # Dubai with Alibaba Cloud
        ("tencent/ap-beijing", "CN"),
        ("yandex/ru-central1", "RU"),
        ("yandex/kz1", "KZ"),
        ("sakura/is1a", "JP"),
    ],
)
def test_local_providers_are_known_from_memory_and_count_as_unknown(
    catalogue: Catalogue, region: str, country: str
) -> None:
    place = Region.parse(region)
    assert catalogue.places[place].country == country
    assert catalogue.country_of(place) is None


def test_dates_that_have_come_or_are_yet_to_come(rules: dict[str, Rule]) -> None:
    assert rules["kr/ai-notice"].since == "2026-01-22"
    assert rules["vn/ai-risk-class"].since == "2026-03-01"
    assert rules["kz/ai-law"].since == "2026-01-18"
    assert rules["cn/labels"].since == "2025-09-01"
    assert rules["au/automated-decisions"].since == "2026-12-10"
    assert rules["in/dpdp-transfer"].since == "2027-05-13"
