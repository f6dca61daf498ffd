"""How long logs are kept: all rules of a target together, as data for the server and the site."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from packager.catalogue import Catalogue
from packager.domain.decision import Decision, Status
from packager.domain.jurisdiction import Demand, RecordKind
from packager.domain.target import DataClass

Decided = Callable[..., dict[str, Decision]]


@pytest.mark.parametrize(
    ("profile", "data", "bounds", "audit"),
    [
        # AI Act, Art. 19(1), 26(6); CNIL 2021-122: six months to a year as a rule.
        ("fr", "personal", (183, 365), True),
        # Law 5651, Art. 5(3): traffic data of a hosting provider, one to two years.
        ("tr", "personal", (365, 730), False),
        # DPO, Art. 4(5): at least a year. NCA ECC-2:2024, 2-12: at least twelve months.
        ("ch", "health", (365, None), True),
        ("sa", "government", (365, None), False),
        # Ten years of records of transactions (28 CFR 202.1101) are no logs of a server.
        ("us", "personal", (None, None), False),
        # BSI minimum standard: 90 days as a rule; the AI Act asks high-risk systems for 183.
        ("de", "government", (183, 90), True),
    ],
)
def test_the_strictest_of_all_rules(
    catalogue: Catalogue,
    profile: str,
    data: str,
    bounds: tuple[int | None, int | None],
    audit: bool,
) -> None:
    found = catalogue.jurisdiction(profile).retention(DataClass(data))
    assert (found.min_days, found.max_days) == bounds
    assert found.audit is audit
    assert found.name == f"{profile}-{data}"
    assert found.as_dict()["min_days"] == bounds[0]


def test_what_no_period_meets_is_said(catalogue: Catalogue, decided: Decided) -> None:
    found = decided("de", ["aws/eu-central-1"], data="government")["target/retention"]
    assert found.status is Status.LEFT_TO_OPERATOR
    assert "no single period meets all rules (de/bsi-logs, eu/ai-act-logs)" in found.why
    contradictory = {
        (name, data.value)
        for name in catalogue.jurisdiction_ids()
        for data in DataClass
        if catalogue.jurisdiction(name).retention(data).contradictory
    }
    assert contradictory == {("de", "government")}


def test_papers_are_not_asked_of_the_server(catalogue: Catalogue, decided: Decided) -> None:
    papers = [
        (name, rule)
        for name in catalogue.jurisdiction_ids()
        for rule in catalogue.written(name).rules
        if rule.demand is Demand.LOG_RETENTION and rule.records is RecordKind.DOCUMENTS
    ]
    assert len(papers) == 6
    for name, rule in papers:
        data = min(rule.data_classes)
        found = decided(name, ["site/x"], data=data.value, sites={"x": "US"})[f"{name}/{rule.id}"]
        assert "never pass through the server" in found.why
