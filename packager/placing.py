"""`packager plan`: demand and sites in, the cheapest lawful placement out, with all its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packager import pipeline
from packager.canonical import dumps_readable
from packager.catalogue import Catalogue, load_catalogue
from packager.catalogue.states import open_state
from packager.comply.law_diff import changed_rules
from packager.domain.model_request import ModelName
from packager.domain.placement import Demand, Placement, Service, Site, Weights
from packager.domain.release import ReleaseRequest
from packager.domain.target import DataClass
from packager.domain.trust import TrustFiles
from packager.errors import InputError, PackagerError, PolicyRefusal
from packager.place.answering import placement_record
from packager.place.comparing import under_other_law
from packager.place.demand_file import read_demand
from packager.place.explaining import explain
from packager.place.exploring import pareto, price_of_residency, sensitivity
from packager.place.geography import read_geography
from packager.place.latency import Latencies
from packager.place.options import Lawful, Problem, build_problem
from packager.place.rehearsing import courses, rehearse_all
from packager.place.release_file import data_classes, planned_release, relocated
from packager.place.report import placement_html
from packager.place.routing import geodns, http_routes
from packager.place.service_file import complete, read_services, services_of_release
from packager.place.sites_file import Sites, read_sites
from packager.place.solving import solve
from packager.progress import Progress
from packager.release import read_release
from packager.resources import data_folder
from packager.steps.placing import Lawfulness, jurisdiction_of
from packager.workspace import publishing, write_atomically

__all__ = ["PlanOptions", "Planned", "plan_placement", "write_plan"]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan needs beside the two files.

    The figures of the model come from `service`, a file, or from a verified release folder
    `measured` with its public `key`; `release` is the file that will be placed. `seconds` bounds
    each solution. The answer is compared with the one under the profiles in each of `laws`, and
    with the one for each class of data in `as_data`.
    """

    objective: Weights = field(default_factory=Weights)
    service: Path | None = None
    measured: Path | None = None
    key: Path | None = None
    release: Path | None = None
    targets: Path | None = None
    seconds: float = 60.0
    explore: bool = True
    rehearse: bool = False
    laws: tuple[Path, ...] = ()
    as_data: tuple[DataClass, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """The answer: the placement, and the document of everything that was asked about it.

    `releases` are texts by file name, with paths as they are in the file `base`.
    """

    placement: Placement
    problem: Problem
    record: Mapping[str, Any]
    routing: Mapping[str, Any]
    releases: Mapping[str, str]
    base: Path | None = None

    def release_text(self, name: str, folder: Path) -> str:
        """A release file as it must read in `folder`."""
        text = self.releases[name]
        return text if self.base is None else relocated(text, self.base.parent, folder)


def plan_placement(
    demand_file: Path, sites_file: Path, options: PlanOptions, progress: Progress
) -> Planned:
    """Read, solve, explore. Raises InputError for what cannot be read, PolicyRefusal when law alone
    stands against every placement, PackagerError when capacity, latency or money do."""
    question = _read(demand_file, sites_file, options, progress)
    problem = question.problem()
    progress.step(
        f"place {len(problem.demands)} demands on {len(question.sites.sites)} sites "
        f"({len(problem.options)} lawful options)"
    )
    placement = solve(problem, seconds=options.seconds)
    if placement is None:
        raise _refused(problem)
    record = placement_record(problem, placement, question.latencies, question.sites.currency)
    record["unmeasured"] = question.unknown
    if options.explore:
        record |= _explored(question, problem, placement, options.seconds, progress)
    if options.laws or options.as_data:
        progress.step("place the same demand under other law")
        record["other_law"] = _compared(question, problem, placement, options)
    if options.rehearse:
        progress.step("rehearse a spike, a lost site and a roll-out")
        record["rehearsals"] = courses(rehearse_all(problem, placement))
    return Planned(
        placement,
        problem,
        record,
        geodns(problem, placement, question.latencies),
        _releases(options.release, placement, question.sites),
        options.release,
    )


def write_plan(planned: Planned, service: str, output: Path) -> None:
    """`placement.json`, `placement.html`, the routing, and a release file for each class of data.

    Appears whole or not at all; raises OutputError when `output` exists already.
    """
    with publishing(output) as work:
        folder = work.release
        write_atomically(folder / "placement.json", dumps_readable(planned.record))
        write_atomically(folder / "placement.html", placement_html(planned.record).encode())
        write_atomically(folder / "routing" / "geodns.json", dumps_readable(planned.routing))
        routes = http_routes(planned.routing, service)
        write_atomically(folder / "routing" / "httproutes.yaml", routes.encode())
        for name in planned.releases:
            write_atomically(folder / name, planned.release_text(name, output).encode())


@dataclass(frozen=True, slots=True)
class _Question:
    catalogue: Catalogue
    base: ReleaseRequest | None
    demands: tuple[Demand, ...]
    sites: Sites
    services: Mapping[str, Service]
    unknown: Sequence[str]
    lawful: Lawful
    latencies: Latencies
    objective: Weights

    def problem(
        self,
        *,
        sites: Sequence[Site] | None = None,
        lawful: Lawful | None = None,
        objective: Weights | None = None,
        demands: Sequence[Demand] | None = None,
    ) -> Problem:
        return build_problem(
            self.demands if demands is None else demands,
            self.sites.sites if sites is None else sites,
            self.services,
            lawful or self.lawful,
            self.latencies,
            spare=self.sites.spare,
            budget=self.sites.budget,
            objective=objective or self.objective,
        )


def _read(
    demand_file: Path, sites_file: Path, options: PlanOptions, progress: Progress
) -> _Question:
    progress.step(f"read {demand_file} and {sites_file}")
    catalogue = load_catalogue(options.targets)
    geography = read_geography(data_folder("targets") / "placement")
    base: ReleaseRequest | None = read_release(options.release) if options.release else None
    sites = read_sites(sites_file, catalogue, geography)
    demands = read_demand(
        demand_file,
        geography,
        lambda country: jurisdiction_of(catalogue, country),
        frozenset(catalogue.jurisdiction_ids()),
    )
    services, unknown = _services(catalogue, sites, options, progress)
    return _Question(
        catalogue,
        base,
        demands,
        sites,
        services,
        unknown,
        Lawfulness(catalogue, sites.rooms, base),
        Latencies(sites.measured),
        options.objective,
    )


def _services(
    catalogue: Catalogue, sites: Sites, options: PlanOptions, progress: Progress
) -> tuple[dict[str, Service], list[str]]:
    """Hardware id → service, and the hardware that nobody measured or could estimate."""
    if options.measured is not None and options.key is not None:
        trust = TrustFiles((options.key,))
        release = pipeline.open_verified(options.measured, trust, progress)
        _refuse_several(options.measured, release.models)
        known = services_of_release(
            release.source, (target.name.hardware for target in release.targets)
        )
    elif options.service is not None:
        known = read_services(options.service)
    else:
        known = {}
    wanted = sorted({offer.hardware for site in sites.sites for offer in site.offers})
    profiles = {name: catalogue.hardware(name) for name in wanted}
    measured = {
        name: catalogue.hardware(name) for name in known if name in catalogue.hardware_ids()
    }
    services = complete(known, profiles.values(), measured)
    unknown = [name for name in wanted if name not in services]
    if unknown:
        progress.note(f"left out, since nothing says what it does: {', '.join(unknown)}")
    return services, unknown


def _refuse_several(folder: Path, models: Sequence[ModelName]) -> None:
    """Raises InputError for a release of several models: a demand does not say for which it is."""
    if len(models) > 1:
        raise InputError(
            "the release has several models, and a demand is for one service",
            where=str(folder),
            got=", ".join(str(model) for model in models),
            next_step="say what a replica does with your mix of requests: --service FILE",
        )


def _explored(
    question: _Question,
    problem: Problem,
    placement: Placement,
    seconds: float,
    progress: Progress,
) -> dict[str, Any]:
    progress.step("ask what-if: prices, a site lost, other law, other objectives")
    changes = sensitivity(problem, placement, question.sites.sites, question.problem, seconds)
    return {
        "sensitivity": [change.as_dict() for change in changes],
        "price_of_residency": price_of_residency(problem, placement, question.problem, seconds),
        "pareto": list(pareto(question.problem, seconds)),
    }


def _compared(
    question: _Question, problem: Problem, placement: Placement, options: PlanOptions
) -> list[dict[str, Any]]:
    found = []
    for folder in options.laws:
        other = open_state(folder)
        demands = [_under(demand, question.catalogue, other) for demand in question.demands]
        lawful = Lawfulness(other, question.sites.rooms, question.base)
        under = question.problem(lawful=lawful, demands=demands)
        compared = under_other_law(
            f"the profiles in {folder}", problem, placement, under, options.seconds
        )
        found.append(compared | {"rules": _rules(question.demands, question.catalogue, other)})
    for data in options.as_data:
        demands = [replace(demand, data=data) for demand in question.demands]
        under = question.problem(demands=demands)
        what = f"all data is {data.value}"
        found.append(under_other_law(what, problem, placement, under, options.seconds))
    return found


def _under(demand: Demand, before: Catalogue, after: Catalogue) -> Demand:
    """The demand under its profile of the other catalogue, which may have one for its country."""
    usual = jurisdiction_of(before, demand.country)
    if demand.jurisdiction != usual:
        return demand
    return replace(demand, jurisdiction=jurisdiction_of(after, demand.country) or usual)


def _rules(
    demands: Sequence[Demand], before: Catalogue, after: Catalogue
) -> dict[str, list[dict[str, object]]]:
    """Profile → its rules that differ, of the profiles that the demands ask."""
    changes = {
        name: changed_rules(before.jurisdiction(name), after.jurisdiction(name))
        for name in sorted({demand.jurisdiction for demand in demands})
        if name in before.jurisdiction_ids() and name in after.jurisdiction_ids()
    }
    return {name: [one.as_dict() for one in found] for name, found in changes.items() if found}


def _refused(problem: Problem) -> PackagerError:
    conflict = explain(problem)
    by_law = all(finding.what.startswith("no site may serve") for finding in conflict.findings)
    return (PolicyRefusal if by_law else PackagerError).of(conflict.findings)


def _releases(file: Path | None, placement: Placement, sites: Sites) -> dict[str, str]:
    """Name of a release file → its text, one for each class of data."""
    if file is None:
        return {}
    text = file.read_text(encoding="utf-8")
    return {
        f"release-{data.value}.yaml": planned_release(text, placement, sites.rooms, data)
        for data in data_classes(placement)
    }
