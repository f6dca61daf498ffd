"""`targets diff`: two states of the catalogue, and a user's releases held to both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packager.catalogue import Catalogue
from packager.catalogue.states import open_state
from packager.comply.deciding import decide
from packager.comply.law_diff import RuleChange, changed_rules, newly_violated
from packager.domain.decision import Decision
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.release import PlannedTarget, ReleaseRequest, TargetRequest
from packager.errors import InputError
from packager.release import read_release


@dataclass(frozen=True, slots=True)
class Refusal:
    """A target of a release that a changed profile would now refuse; `gone` when a profile that it
    names is there no more."""

    release: str
    target: str
    decisions: tuple[Decision, ...]
    gone: str | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "release": self.release,
            "target": self.target,
            "gone": self.gone,
            "decisions": [one.as_dict() for one in self.decisions],
        }


@dataclass(frozen=True, slots=True)
class LawDiff:
    """Profile → its changed rules, and the targets that are refused now and were not before."""

    profiles: dict[str, tuple[RuleChange, ...]]
    refused: tuple[Refusal, ...]


def law_diff(old: Path, new: Path, releases: Sequence[Path]) -> LawDiff:
    """Compare two folders of profiles, and decide the releases with both.

    A folder with a built-in profile's id in it is a whole catalogue; any other one extends the
    built-in catalogue, as with --targets. Raises InputError for what cannot be read.
    """
    before, after = open_state(old), open_state(new)
    names = sorted({*before.jurisdiction_ids(), *after.jurisdiction_ids()})
    changes = {name: changed_rules(_find(before, name), _find(after, name)) for name in names}
    refused = [
        refusal
        for file in releases
        for request in [read_release(file)]
        for target in request.targets
        if (refusal := _refusal(file, request, target, before, after))
    ]
    return LawDiff({name: found for name, found in changes.items() if found}, tuple(refused))


def _refusal(
    file: Path,
    request: ReleaseRequest,
    target: TargetRequest,
    before: Catalogue,
    after: Catalogue,
) -> Refusal | None:
    was = _decide(request, target, before)
    try:
        now = _decide(request, target, after)
    except InputError as error:
        return Refusal(str(file), str(target.name), (), error.findings[0].what)
    new = newly_violated(was, now)
    return Refusal(str(file), str(target.name), new) if new else None


def _decide(
    request: ReleaseRequest, target: TargetRequest, catalogue: Catalogue
) -> tuple[Decision, ...]:
    planned = PlannedTarget(
        name=target.name,
        jurisdiction=catalogue.jurisdiction(target.name.jurisdiction),
        hardware=catalogue.hardware(target.name.hardware),
        regions=target.regions,
        registry=request.registries.get(target.name.jurisdiction),
        reference="",
        where=target.where,
    )
    return decide(planned, request, catalogue.country_of, catalogue.distance_km, catalogue.home_of)


def _find(catalogue: Catalogue, name: str) -> Jurisdiction | None:
    return catalogue.jurisdiction(name) if name in catalogue.jurisdiction_ids() else None
