"""What holds for every request and every rule, not only for those that we thought of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from packager.catalogue import load_catalogue
from packager.comply.deciding import decide
from packager.domain.decision import Decision, Status
from packager.domain.hardware import Confidence
from packager.domain.jurisdiction import CryptographyStandard, Demand, Law, Rule
from packager.domain.model import Objective, QualityBudget
from packager.domain.release import BaseImage, Declarations, PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass, DeploymentPlatform, Region, TargetName
from packager.domain.transfer import DeclaredTransfer

CATALOGUE = load_catalogue()
COUNTRIES = ["DE", "FR", "NO", "SA", "SG", "US", "CH", "AE"]
PLACES = [*sorted(CATALOGUE.places), Region("site", "lab"), Region("nobody", "somewhere")]
MECHANISMS = sorted(
    {
        name
        for one in CATALOGUE.jurisdiction_ids()
        for name in CATALOGUE.jurisdiction(one).mechanisms
    }
)
LAW = Law("Law", "Art. 1", "https://example.org/law", Confidence.HIGH, "2026-11-23")

rules = st.builds(
    Rule,
    id=st.just("added"),
    demand=st.sampled_from(Demand),
    data_classes=st.frozensets(st.sampled_from(DataClass), min_size=1),
    text=st.just("Added."),
    law=st.just(LAW),
    within=st.lists(st.sampled_from(COUNTRIES), min_size=1, unique=True).map(tuple),
    certifications=st.just(("C5",)),
    export_classes=st.just(("3A090.a",)),
    standard=st.none() | st.sampled_from(CryptographyStandard),
)
facts = st.builds(
    Declarations,
    hosting_certifications=st.none() | st.just(()) | st.just(("C5", "HDS v2")),
    model_origin=st.none() | st.sampled_from(COUNTRIES),
    log_region=st.none() | st.sampled_from(PLACES),
    key_location=st.none() | st.sampled_from(COUNTRIES),
    telemetry_region=st.none() | st.sampled_from(PLACES),
    transfers=st.lists(
        st.builds(
            DeclaredTransfer,
            mechanism=st.sampled_from(MECHANISMS),
            to=st.lists(st.sampled_from(COUNTRIES), min_size=1, unique=True).map(tuple),
            recipient=st.just("Example Inc."),
            document=st.just("a contract"),
            dated=st.just("2026-05-12"),
            where=st.just("release.yaml:9"),
        ),
        max_size=3,
    ).map(tuple),
)
bases = st.builds(
    BaseImage,
    reference=st.just("registry.example.de/base"),
    digest=st.none() | st.just("sha256:" + "0" * 64),
    origin=st.none() | st.sampled_from(COUNTRIES),
) | st.just(BaseImage())


@st.composite
def askings(draw: st.DrawFn) -> tuple[PlannedTarget, ReleaseRequest]:
    jurisdiction = draw(st.sampled_from(CATALOGUE.jurisdiction_ids()))
    hardware = draw(st.sampled_from(CATALOGUE.hardware_ids()))
    platform = draw(st.sampled_from(DeploymentPlatform))
    name = TargetName(jurisdiction, hardware, platform)
    host = st.sampled_from(["registry.example.de", "docker.io", "localhost:5000", "a.b.sa", "x"])
    registry = draw(st.none() | host)
    regions = draw(st.lists(st.sampled_from(PLACES), max_size=4).map(tuple))
    request = ReleaseRequest(
        name="model",
        version="1",
        model_path=Path("model.onnx"),
        model_license=draw(st.sampled_from([None, "MIT", "nonsense", "LicenseRef-x"])),
        samples=None,
        quality=QualityBudget(),
        objective=Objective.LATENCY,
        data_class=draw(st.sampled_from(DataClass)),
        targets=(),
        registries={},
        sites=draw(st.dictionaries(st.just("lab"), st.sampled_from(COUNTRIES))),
        registry_countries=draw(st.dictionaries(host, st.sampled_from(COUNTRIES), max_size=2)),
        signing_keys=(),
        where="release.yaml",
        declared=draw(facts),
        base=draw(bases),
    )
    target = PlannedTarget(
        name=name,
        jurisdiction=CATALOGUE.jurisdiction(jurisdiction),
        hardware=CATALOGUE.hardware(hardware),
        regions=regions,
        registry=registry,
        reference="localhost/model:1",
        where="release.yaml",
    )
    return target, request


def decided(target: PlannedTarget, request: ReleaseRequest) -> tuple[Decision, ...]:
    return decide(target, request, CATALOGUE.country_of, CATALOGUE.distance_km, CATALOGUE.home_of)


def refused(decisions: tuple[Decision, ...]) -> set[str]:
    return {one.control for one in decisions if one.status is Status.VIOLATED}


@given(askings(), rules)
@settings(max_examples=150, deadline=None)
def test_adding_a_rule_never_allows_what_was_refused(
    asking: tuple[PlannedTarget, ReleaseRequest], rule: Rule
) -> None:
    target, request = asking
    before = refused(decided(target, request))
    jurisdiction = target.jurisdiction
    more = dataclasses.replace(
        target,
        jurisdiction=dataclasses.replace(
            jurisdiction,
            rules=(*jurisdiction.rules, rule),
            owner={**jurisdiction.owner, rule.id: jurisdiction.id},
        ),
    )
    assert before <= refused(decided(more, request))


@given(askings(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_same_question_has_the_same_answer_in_any_order(
    asking: tuple[PlannedTarget, ReleaseRequest], shuffle: object
) -> None:
    target, request = asking
    answer = decided(target, request)
    mixed_rules, mixed_regions = list(target.jurisdiction.rules), list(target.regions)
    shuffle.shuffle(mixed_rules)  # type: ignore[attr-defined]
    shuffle.shuffle(mixed_regions)  # type: ignore[attr-defined]
    again = dataclasses.replace(
        target,
        regions=tuple(mixed_regions),
        jurisdiction=dataclasses.replace(target.jurisdiction, rules=tuple(mixed_rules)),
    )
    assert decided(again, request) == answer
    assert [one.control for one in answer] == sorted(one.control for one in answer)


@given(askings())
@settings(max_examples=150, deadline=None)
def test_a_place_that_nobody_knows_always_refuses(
    asking: tuple[PlannedTarget, ReleaseRequest],
) -> None:
    target, request = asking
    unknown = [
        region
        for region in target.regions
        if CATALOGUE.country_of(region) is None
        and not (region.provider == "site" and region.name in request.sites)
    ]
    assert bool(unknown) == ("target/places" in refused(decided(target, request)))


@given(askings())
@settings(max_examples=150, deadline=None)
def test_only_what_is_refused_has_a_remedy_and_all_of_it_has(
    asking: tuple[PlannedTarget, ReleaseRequest],
) -> None:
    for decision in decided(*asking):
        assert (decision.remedy is not None) == (decision.status is Status.VIOLATED)
        assert decision.why
        assert (decision.status is Status.ENFORCED) <= bool(decision.by)


@given(askings())
@settings(max_examples=150, deadline=None)
def test_a_declared_transfer_only_ever_opens_what_it_shows(
    asking: tuple[PlannedTarget, ReleaseRequest],
) -> None:
    """Taking all declared paths away refuses what showed one, and changes nothing else to worse."""
    target, request = asking
    bare = dataclasses.replace(
        request, declared=dataclasses.replace(request.declared, transfers=())
    )
    held, without = decided(target, request), decided(target, bare)
    assert refused(held) <= refused(without)
    shown = {one.control for one in held if one.paths}
    assert refused(without) - refused(held) == shown
    for one in held:
        assert all(path.mechanism.confirmed for path in one.paths)
