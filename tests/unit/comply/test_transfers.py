"""May inference for data subjects of X happen in Y? The matrix says what `check` says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from packager.catalogue import Catalogue
from packager.comply.transfers import PLACES, Verdict, matrix, transfer
from packager.domain.decision import Decision, Status
from packager.domain.target import DataClass

Decided = Callable[..., dict[str, Decision]]


@pytest.mark.parametrize(
    ("origin", "destination", "data", "verdict"),
    [
        # GDPR Art. 1(3), 45: inside the EEA, to an adequate country, to one that is not.
        ("de", "fr", "personal", Verdict.LAWFUL_ABROAD),
        ("de", "de", "personal", Verdict.INSIDE),
        ("eu", "de", "personal", Verdict.INSIDE),
        ("de", "ch", "personal", Verdict.LAWFUL_ABROAD),
        ("de", "us", "personal", Verdict.MECHANISM),
        # "Somewhere in the Union" is not "in Germany" for public data of a German target.
        ("sa", "eu", "personal", Verdict.MECHANISM),
        # DPO, Annex 1: the Union is on the Swiss list. Code de la santé publique, L. 1111-8.
        ("ch", "eu", "personal", Verdict.LAWFUL_ABROAD),
        ("fr", "ch", "health", Verdict.REFUSED),
        # KVKK Art. 9: no country found adequate. ANPD Resolution 32/2026: the Union, not Norway.
        ("tr", "de", "personal", Verdict.MECHANISM),
        ("tr", "de", "financial", Verdict.REFUSED),
        ("br", "de", "personal", Verdict.LAWFUL_ABROAD),
        ("br", "no", "personal", Verdict.MECHANISM),
    ],
)
def test_pairs_from_the_sources(
    catalogue: Catalogue, origin: str, destination: str, data: str, verdict: Verdict
) -> None:
    found = transfer(
        catalogue.jurisdiction(origin), catalogue.jurisdiction(destination), DataClass(data)
    )
    assert found.verdict is verdict, found.why
    assert found.grounds
    if verdict is not Verdict.MECHANISM:
        assert found.grounds[0].rule.law.name in found.why
    assert bool(found.ways) == (verdict is Verdict.MECHANISM)
    assert all(way.law.name in found.why for _, way in found.ways)


def test_what_rests_on_memory_says_so(catalogue: Catalogue) -> None:
    found = transfer(
        catalogue.jurisdiction("sa"), catalogue.jurisdiction("sg"), DataClass.FINANCIAL
    )
    assert "from memory, not looked up" in found.why


def test_the_matrix_says_what_check_says(catalogue: Catalogue, decided: Decided) -> None:
    """Every country that a profile stands for, against every profile, for every class of data."""
    profiles = [catalogue.jurisdiction(name) for name in catalogue.jurisdiction_ids()]
    single = [profile for profile in profiles if len(profile.countries) == 1]
    for found in matrix(profiles, single, DataClass):
        country = catalogue.jurisdiction(found.destination).countries[0]
        decisions = decided(
            found.origin, ["site/here"], data=found.data.value, sites={"here": country}
        )
        origin = catalogue.jurisdiction(found.origin)
        violated = {
            f"{origin.owner[rule.id]}/{rule.id}"
            for rule in origin.rules
            if rule.demand in PLACES
            and decisions[f"{origin.owner[rule.id]}/{rule.id}"].status is Status.VIOLATED
        }
        refusing = {one.control for one in found.grounds if one.outside}
        assert refusing == violated, (found.origin, found.destination, found.data)
        refused = found.verdict in (Verdict.REFUSED, Verdict.HOUSE_RULE, Verdict.MECHANISM)
        assert refused == bool(violated)


def test_every_pair_once_in_a_fixed_order(catalogue: Catalogue) -> None:
    profiles = [catalogue.jurisdiction(name) for name in catalogue.jurisdiction_ids()]
    found = matrix(profiles, profiles, [DataClass.PERSONAL, DataClass.HEALTH])
    assert len(found) == 2 * len(profiles) ** 2
    assert found == matrix(profiles[::-1], profiles[::-1], [DataClass.HEALTH, DataClass.PERSONAL])


def test_on_the_command_line(packager: Callable[..., object]) -> None:
    shown = packager("check", "--matrix", "--data-class", "health")
    assert shown.code == 0  # type: ignore[attr-defined]
    assert "– refused" in shown.out  # type: ignore[attr-defined]
    told = packager("check", "--matrix", "-j", "de", "--json").json()  # type: ignore[attr-defined]
    by_destination = {one["to"]: one for one in told["transfers"]}
    assert by_destination["us"]["verdict"] == "with a mechanism"
    assert "eu/dpf" in [one["mechanism"] for one in by_destination["us"]["mechanisms"]]
    assert by_destination["us"]["grounds"][0]["law"]["article"] == "Art. 44, 45"
    assert packager("check", "model.onnx", "--matrix").code == 2  # type: ignore[attr-defined]
    assert packager("check").code == 2  # type: ignore[attr-defined]
