"""From a request to a plan: profiles looked up, names made, nothing done yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from packager.canonical import SourceDateEpoch
from packager.domain.hardware import HardwareProfile
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.provider_wheel import for_genai
from packager.domain.release import Plan, PlannedTarget, ReleaseRequest, TargetRequest
from packager.errors import Finding, InputError
from packager.section import nearest

# An image that no registry was named for. A name without a host would mean a public registry to
# Docker, and a manifest must never send a site there.
NO_REGISTRY = "localhost"


class Profiles(Protocol):
    """Where profiles come from (`packager.catalogue`). Unknown ids raise InputError."""

    def jurisdiction(self, name: str) -> Jurisdiction:
        """The profile with everything that it inherits."""

    def hardware(self, name: str) -> HardwareProfile:
        """The profile with everything that it inherits."""


def make_plan(request: ReleaseRequest, profiles: Profiles, epoch: SourceDateEpoch) -> Plan:
    """Look up every profile that the request names. Raises InputError with all that are unknown."""
    findings: list[Finding] = []
    planned = []
    for target in request.targets:
        try:
            planned.append(_plan_target(request, target, profiles))
        except InputError as error:
            findings.extend(
                Finding(
                    finding.what,
                    f"{target.where} ({finding.where})" if finding.where else target.where,
                    finding.expected,
                    finding.got,
                    finding.next_step,
                )
                for finding in error.findings
            )
    strangers = set(request.registries) - {target.name.jurisdiction for target in request.targets}
    findings.extend(
        Finding(
            f"a registry is given for {name!r}, which no target names",
            f"{request.where}: registry.{name}",
            next_step="remove it, or add a target of that jurisdiction",
        )
        for name in sorted(strangers)
    )
    findings.extend(_unknown_mechanisms(request, planned))
    if findings:
        raise InputError.of(findings)
    return Plan(request, tuple(planned), epoch)


def _unknown_mechanisms(
    request: ReleaseRequest, planned: Sequence[PlannedTarget]
) -> Iterator[Finding]:
    """A declared transfer that no target's law knows would be a promise that nobody reads."""
    known = sorted({name for target in planned for name in target.jurisdiction.mechanisms})
    for declared in request.declared.transfers:
        if declared.mechanism not in known:
            yield Finding(
                f"no target's jurisdiction knows the transfer mechanism {declared.mechanism!r}",
                declared.where,
                expected=", ".join(known) or "none: the profiles of this release name no mechanism",
                next_step=nearest(declared.mechanism, known)
                or "see what a profile offers: packager targets show ID",
            )


def _plan_target(
    request: ReleaseRequest, target: TargetRequest, profiles: Profiles
) -> PlannedTarget:
    registry = request.registries.get(target.name.jurisdiction)
    jurisdiction = profiles.jurisdiction(target.name.jurisdiction)
    hardware, text = profiles.hardware(target.name.hardware), request.serving.generation
    if text and text.engine_on(hardware.execution_provider).of_library:
        hardware = for_genai(hardware)
    return PlannedTarget(
        name=target.name,
        jurisdiction=jurisdiction,
        hardware=hardware,
        regions=target.regions,
        registry=registry,
        reference=(
            f"{registry or NO_REGISTRY}/{request.name}:{request.version}-{target.name.slug}"
        ),
        where=target.where,
        features=request.features,
    )
