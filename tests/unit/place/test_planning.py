"""The plan as a whole: law is never overruled, refusals are explained, answers agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from placements import SERVICE, a_demand, a_problem, a_site, an_offer

from packager.catalogue import load_catalogue
from packager.domain.decision import Status
from packager.domain.placement import Demand, Point, Service, Site, Surge
from packager.domain.target import DataClass, Region
from packager.errors import InputError, PackagerError, PolicyRefusal
from packager.place.answering import bills, placement_record
from packager.place.checked import checked
from packager.place.explaining import explain
from packager.place.latency import Latencies
from packager.place.rehearsal import Scenario
from packager.place.rehearsing import rehearse
from packager.place.release_file import planned_release, relocated
from packager.place.report import placement_html
from packager.place.routing import geodns, http_routes
from packager.place.solving import solve
from packager.placing import PlanOptions, plan_placement, write_plan
from packager.progress import SILENT
from packager.release import read_release
from packager.resources import data_folder
from packager.steps.placing import HARDWARE, PLACES, Lawfulness, jurisdiction_of

CATALOGUE = load_catalogue()
EXAMPLE = Path(__file__).parents[3] / "examples" / "europe-gulf-asia"
REGIONS = sorted(region for region, place in CATALOGUE.places.items() if place.confirmed)
COUNTRIES = ("DE", "FR", "CH", "SA", "AE", "SG", "JP", "US", "IN", "NO", "BG")


def site_in(region: Region, **changes: Any) -> Site:
    place = CATALOGUE.places[region]
    return a_site(str(region), place.country, at=Point(place.latitude, place.longitude), **changes)


@given(
    countries=st.lists(st.sampled_from(COUNTRIES), min_size=1, max_size=4, unique=True),
    data=st.sampled_from(list(DataClass)),
    regions=st.lists(st.sampled_from(REGIONS), min_size=1, max_size=6, unique=True),
    hardware=st.sampled_from(["x86-64-v3", "nvidia-h100-sxm-80"]),
)
@settings(max_examples=40, deadline=None)
def test_no_placement_uses_a_pair_that_the_policy_engine_refuses(
    countries: list[str], data: DataClass, regions: list[Region], hardware: str
) -> None:
    demands = [
        a_demand(
            f"{country.lower()}-x",
            country=country,
            jurisdiction=jurisdiction_of(CATALOGUE, country),
            data=data,
            limit_ms=2000.0,
        )
        for country in countries
    ]
    sites = [site_in(region, offers=(an_offer(hardware),)) for region in regions]
    law = Lawfulness(CATALOGUE, {})
    services = {hardware: Service(hardware, 2.0, 3.0, 100.0, "test")}
    found = solve(a_problem(demands, sites, lawful=law, services=services))
    for flow in found.flows if found else ():
        for decision in whole_decision(law, flow.demand, flow.pool.site, hardware):
            assert decision.status is not Status.VIOLATED, decision


def whole_decision(law: Lawfulness, demand: Demand, site: Site, hardware: str) -> list[Any]:
    """`decide` asked directly about the pair, without the halves that Lawfulness keeps."""
    jurisdiction = CATALOGUE.jurisdiction(demand.jurisdiction)
    asked = {
        f"{jurisdiction.owner[rule.id]}/{rule.id}"
        for rule in jurisdiction.rules
        if rule.demand in PLACES | HARDWARE
    }
    made = law._decide(jurisdiction, demand, site, hardware)
    return [
        decision
        for decision in made
        if decision.control in asked or decision.control.startswith(("hardware/", "target/"))
    ]


def test_the_halves_say_what_the_whole_says() -> None:
    law = Lawfulness(CATALOGUE, {"room": "SA"})
    sites = [site_in(region) for region in REGIONS[::17]] + [a_site("site/room", "SA")]
    for country in COUNTRIES:
        for data in DataClass:
            demand = a_demand(
                country=country, jurisdiction=jurisdiction_of(CATALOGUE, country), data=data
            )
            for hardware in ("x86-64-v3", "nvidia-h100-sxm-80", "google-coral-edgetpu"):
                for site in sites:
                    whole = whole_decision(law, demand, site, hardware)
                    refused = any(one.status is Status.VIOLATED for one in whole)
                    assert bool(law(demand, site, hardware)) == refused


@given(tightened=st.sets(st.sampled_from(range(12)), max_size=8))
@settings(max_examples=30, deadline=None)
def test_tightening_a_law_never_lowers_the_cost(tightened: set[int]) -> None:
    demands = [a_demand(f"d{n}-x", hourly=(30.0 + 40 * n,)) for n in range(3)]
    sites = [
        a_site(f"aws/region-{n}", offers=(an_offer(price=1.0 + n, limit=3),)) for n in range(4)
    ]
    pairs = [(d.name, s.region) for d in demands for s in sites]
    banned = {pairs[number] for number in tightened}

    def stricter(demand: Demand, site: Site, _hardware: str) -> tuple[str, ...]:
        return ("refused",) if (demand.name, site.region) in banned else ()

    free = solve(a_problem(demands, sites, spare=1), gap=0.0)
    bound = solve(a_problem(demands, sites, spare=1, lawful=stricter), gap=0.0)
    assert free is not None
    if bound is not None:
        assert bound.cost >= free.cost - 1e-6


def test_no_lawful_site_is_explained() -> None:
    demand = a_demand("sa-government", country="SA", jurisdiction="sa", data=DataClass.GOVERNMENT)
    problem = a_problem(
        [demand], [site_in(Region("aws", "eu-west-3"))], lawful=Lawfulness(CATALOGUE, {})
    )
    assert solve(problem) is None
    (finding,) = explain(problem).findings
    assert finding.what.startswith("no site may serve sa-government")
    assert "outside SA" in str(finding.got)
    assert "country: SA" in str(finding.next_step)


def test_too_far_is_explained_with_the_time_that_would_do() -> None:
    far = a_site("aws/ap-southeast-1", "SG", at=Point(1.35, 103.8))
    problem = a_problem([a_demand(limit_ms=50.0)], [far])
    (finding,) = explain(problem).findings
    needed = float(str(finding.next_step).split()[1])
    assert 100 < needed < 250
    assert solve(a_problem([a_demand(limit_ms=needed + 1)], [far])) is not None


def test_the_smallest_conflict_is_found_and_a_way_out_that_works() -> None:
    small = a_site(offers=(an_offer(limit=2),))
    roomy = a_site("aws/eu-west-3", "FR", offers=(an_offer(limit=50),))
    demands = [a_demand("a-x", hourly=(100.0,)), a_demand("b-x", hourly=(100.0,)), a_demand("c-x")]

    def law(demand: Demand, site: Site, _hardware: str) -> tuple[str, ...]:
        return () if (demand.name == "c-x") == (site.country == "FR") else ("no",)

    problem = a_problem(demands, [small, roomy], lawful=law)
    conflict = explain(problem)
    assert conflict.demands == ("a-x", "b-x")
    assert "3 x86-64-v3 at aws/eu-central-1 instead of 2" in str(conflict.findings[0].next_step)
    larger = a_site(offers=(an_offer(limit=3),))
    assert solve(a_problem(demands, [larger, roomy], lawful=law)) is not None


def test_a_budget_is_explained() -> None:
    problem = a_problem([a_demand()], [a_site()], budget=100.0)
    (finding,) = explain(problem).findings
    assert "allow a budget of 730 a month" in str(finding.next_step)


def test_the_bill_adds_up() -> None:
    surge = Surge(factor=3, ramp_s=300)
    demands = [
        a_demand("a-x", hourly=(10.0, 70.0), surge=surge),
        a_demand("b-x", hourly=(55.0,), surge=surge),
    ]
    sites = [a_site(), a_site("aws/eu-west-3", "FR", offers=(an_offer(price=1.5),))]
    problem = a_problem(demands, sites, spare=1)
    found = solve(problem)
    assert found is not None
    assert sum(bill.cost for bill in bills(problem, found)) == pytest.approx(found.cost)
    record = placement_record(problem, found, Latencies(), "USD")
    assert sum(record["drivers"].values()) == pytest.approx(found.cost, abs=0.01)


def test_failover_is_lawful_and_routes_are_gateway_api() -> None:
    demands = [a_demand("a-x", country="DE"), a_demand("b-x", country="FR", at=Point(48.9, 2.4))]
    sites = [
        a_site(offers=(an_offer(limit=2),)),
        a_site("aws/eu-west-3", "FR", at=Point(48.9, 2.4), offers=(an_offer(limit=2),)),
    ]

    def law(demand: Demand, site: Site, _hardware: str) -> tuple[str, ...]:
        return () if demand.name == "a-x" or site.country == "FR" else ("no",)

    problem = a_problem(demands, sites, lawful=law)
    found = solve(problem)
    assert found is not None
    routing = geodns(problem, found, Latencies())
    for route in routing["routes"]:
        if route["demand"] == "b-x":
            assert route["failover"] == []
    documents = list(yaml.safe_load_all(http_routes(routing, "filetype")))
    assert {document["kind"] for document in documents} == {"HTTPRoute"}


def test_a_spike_within_the_head_room_is_carried_and_one_beyond_it_is_shed() -> None:
    surge = Surge(factor=5, ramp_s=60)
    demand = a_demand(hourly=(60.0,), surge=surge)
    problem = a_problem([demand], [a_site()])
    found = solve(problem)
    assert found is not None
    assert rehearse(problem, found, Scenario.SPIKE).shed < 0.01
    calm = a_problem([a_demand(hourly=(60.0,))], [a_site()])
    too_small = solve(calm)
    assert too_small is not None
    assert rehearse(problem, too_small, Scenario.SPIKE).shed > 0.3


def test_a_rehearsal_is_the_same_every_time() -> None:
    problem = a_problem([a_demand()], [a_site()])
    found = solve(problem)
    assert found is not None
    one, other = (rehearse(problem, found, Scenario.ROLL_OUT).as_dict() for _ in range(2))
    assert one == other


def test_the_example_is_planned_and_passes_check(tmp_path: Path) -> None:
    options = PlanOptions(
        service=EXAMPLE / "service.yaml", release=EXAMPLE / "release.yaml", explore=False
    )
    planned = plan_placement(EXAMPLE / "demand.yaml", EXAMPLE / "sites.yaml", options, SILENT)
    write_plan(planned, "filetype", tmp_path / "plan")
    assert {file.name for file in (tmp_path / "plan").iterdir()} == {
        "placement.json", "placement.html", "routing",
        *(f"release-{data}.yaml" for data in ("financial", "government", "health", "personal")),
    }  # fmt: skip
    record = json.loads((tmp_path / "plan" / "placement.json").read_bytes())
    assert {demand["name"] for demand in record["demands"]} >= {"de-personal", "sa-government"}
    page = (tmp_path / "plan" / "placement.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    for name in planned.releases:
        file = tmp_path / "plan" / name
        request = read_release(file)
        assert request.model_path.resolve() == (EXAMPLE / "../filetype/model.onnx").resolve()
        for target in request.targets:
            decisions = check(file, target.name)
            assert not [d for d in decisions if d.status is Status.VIOLATED]


def check(file: Path, name: object) -> tuple[Any, ...]:
    from packager import pipeline

    _, decisions = pipeline.check(read_release(file))
    return next(made for target, made in decisions.items() if target == name)


DRAFT = """rules:
  - id: at-home
    demand: inference_within
    data: [personal]
    within: [FR]
    text: Personal data is processed in France.
    law: {name: A draft, article: Art. 1, source: docs/catalogue.md, confidence: low}

"""
SMALL_SITES = """apiVersion: packager/v1
kind: Sites
sites:
  - {region: aws/eu-central-1, hardware: [{profile: x86-64-v3, price: 0.20 USD/hour}]}
  - {region: aws/eu-west-3, hardware: [{profile: x86-64-v3, price: 0.50 USD/hour}]}
"""
SMALL_DEMAND = """apiVersion: packager/v1
kind: Demand
demands:
  - {country: DE, data: personal, requests: {per_second: 50}}
  - {country: FR, data: personal, requests: {per_second: 50}}
"""


def test_the_same_demand_under_a_draft_of_the_law(tmp_path: Path) -> None:
    law = tmp_path / "draft"
    shutil.copytree(data_folder("targets"), law)
    profile = law / "jurisdictions" / "fr.yaml"
    profile.write_text(profile.read_text().replace("rules:\n", DRAFT, 1))
    (tmp_path / "sites.yaml").write_text(SMALL_SITES)
    (tmp_path / "demand.yaml").write_text(SMALL_DEMAND)
    options = PlanOptions(
        service=EXAMPLE / "service.yaml",
        explore=False,
        laws=(law,),
        as_data=(DataClass.PUBLIC, DataClass.GOVERNMENT),
    )
    planned = plan_placement(tmp_path / "demand.yaml", tmp_path / "sites.yaml", options, SILENT)
    draft, public, government = planned.record["other_law"]
    assert draft["difference"] > 0
    assert draft["rules"] == {"fr": [{"control": "fr/at-home", "change": "added", "what": []}]}
    moved = {one["name"]: (one["moves_from"], one["moves_to"]) for one in draft["demands"]}
    assert moved["fr-personal"] == (["aws/eu-central-1"], ["aws/eu-west-3"])
    bills = sum(one["cost_after"] - one["cost_before"] for one in draft["demands"])
    assert bills == pytest.approx(draft["difference"], abs=0.05)
    assert public["cost"] is not None
    assert government["what"] == "all data is government"
    write_plan(planned, "filetype", tmp_path / "plan")
    assert "Under another law" in (tmp_path / "plan" / "placement.html").read_text()


def test_a_law_that_leaves_no_placement_says_why(tmp_path: Path) -> None:
    law = tmp_path / "draft"
    shutil.copytree(data_folder("targets"), law)
    profile = law / "jurisdictions" / "fr.yaml"
    profile.write_text(profile.read_text().replace("rules:\n", DRAFT, 1))
    (tmp_path / "sites.yaml").write_text(SMALL_SITES.rpartition("  - ")[0])
    (tmp_path / "demand.yaml").write_text(SMALL_DEMAND)
    options = PlanOptions(service=EXAMPLE / "service.yaml", explore=False, laws=(law,))
    planned = plan_placement(tmp_path / "demand.yaml", tmp_path / "sites.yaml", options, SILENT)
    (draft,) = planned.record["other_law"]
    assert draft["cost"] is None
    assert "no site may serve fr-personal" in draft["refused"][0]["what"]


def test_the_page_says_what_the_models_were_held_to() -> None:
    found = checked()
    assert {(row["model"], row["load"]) for row in found["load"]} == {
        (model, load) for model in ("convolution", "magika", "minilm") for load in (0.5, 0.7, 0.9)
    }
    for row in found["load"]:
        assert row["ratio"] == pytest.approx(1, abs=0.25), row
    problem = a_problem([a_demand()], [a_site()])
    placement = solve(problem)
    assert placement is not None
    page = placement_html(placement_record(problem, placement, Latencies(), "USD"))
    assert "What the speeds rest on" in page
    assert found["where"] in page


def test_law_alone_is_a_policy_refusal_and_distance_is_not(tmp_path: Path) -> None:
    (tmp_path / "sites.yaml").write_text(
        "apiVersion: packager/v1\nkind: Sites\nsites:\n"
        "  - {region: aws/eu-west-3, hardware: [{profile: x86-64-v3}]}\n"
    )
    head = "apiVersion: packager/v1\nkind: Demand\ndemands:\n"
    options = PlanOptions(service=EXAMPLE / "service.yaml", explore=False)
    file = tmp_path / "demand.yaml"
    file.write_text(head + "  - {country: SA, data: government, requests: {per_second: 1}}\n")
    with pytest.raises(PolicyRefusal):
        plan_placement(file, tmp_path / "sites.yaml", options, SILENT)
    file.write_text(head + "  - {country: DE, requests: {per_second: 1}, latency: {p95_ms: 3}}\n")
    with pytest.raises(PackagerError) as raised:
        plan_placement(file, tmp_path / "sites.yaml", options, SILENT)
    assert not isinstance(raised.value, PolicyRefusal | InputError)


@pytest.mark.parametrize("folder", ["plan", ".", "../elsewhere/deep"])
def test_a_written_release_finds_its_files_from_where_it_stands(
    tmp_path: Path, folder: str
) -> None:
    text = (
        "model: {path: 'models/a b.onnx', samples: ../samples.npz}   # kept\n"
        "encryption: {de: [keys/de.pem, /etc/keys/all.pem]}\n"
    )
    old, new = tmp_path / "a" / "b", tmp_path / "a" / "b" / folder
    written = yaml.safe_load(moved := relocated(text, old, new))
    for path, kept in (
        (written["model"]["path"], "models/a b.onnx"),
        (written["model"]["samples"], "../samples.npz"),
        (written["encryption"]["de"][0], "keys/de.pem"),
    ):
        assert (new / path).resolve() == (old / kept).resolve()
    assert written["encryption"]["de"][1] == "/etc/keys/all.pem"
    assert "# kept" in moved


def test_a_release_file_keeps_everything_else() -> None:
    problem = a_problem([a_demand("no-personal", country="NO", jurisdiction="no")], [a_site()])
    found = solve(problem)
    assert found is not None
    text = (
        "# mine\nmetadata: {name: x}\ntargets:\n  - {old: 1}\n\n  # of the targets\n"
        "# of the registry\nregistry: {}\n"
    )
    written = planned_release(text, found, {}, DataClass.PERSONAL)
    assert written.startswith("# mine\nmetadata: {name: x}\ntargets:")
    assert "old" not in written
    assert "# of the registry\nregistry: {}" in written
    document = yaml.safe_load(written)
    assert document["targets"][0]["jurisdiction"] == "no"
    assert document["data"] == {"class": "personal"}
    assert SERVICE.hardware == document["targets"][0]["hardware"]
