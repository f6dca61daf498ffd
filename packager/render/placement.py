"""Which nodes may run a target: what the scheduler is told to require.

A region's label alone names no country: `me-central-1` lies in the United Arab Emirates with one
provider and in Saudi Arabia with another. So a node must also carry labels that the site's
administrator set, and they stand under `node-restriction.kubernetes.io/`: the NodeRestriction
admission plugin lets no kubelet give itself one (kubernetes.io, "Assigning Pods to Nodes", "Node
isolation/restriction"). The provider sets `topology.kubernetes.io/region`; a room of the user's
own has no provider, and is named by the administrator alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from packager.domain.names import is_label_value
from packager.domain.release import PlannedTarget
from packager.domain.target import Region
from packager.errors import Finding, InputError

ATTESTED = "packager.dev.node-restriction.kubernetes.io"
JURISDICTION_LABEL = f"{ATTESTED}/jurisdiction"
PROVIDER_LABEL = f"{ATTESTED}/provider"
SITE_LABEL = f"{ATTESTED}/site"
REGION_LABEL = "topology.kubernetes.io/region"
_SITE = "site"


@dataclass(frozen=True, slots=True, order=True)
class NodeLabel:
    """A label that a node must carry, and whose word it is: `administrator`, `provider`, `node`."""

    key: str
    value: str
    set_by: str


@dataclass(frozen=True, slots=True)
class Place:
    """One way for a node to qualify; `region` is None when the target names no region."""

    region: str | None
    labels: tuple[NodeLabel, ...]


def places(target: PlannedTarget) -> tuple[Place, ...]:
    """The places of a target: a node qualifies when it carries all labels of one of them.

    Raises InputError with every name that cannot stand in a label, since it cannot be matched.
    """
    hardware = _hardware_labels(target)
    found = tuple(
        Place(
            str(region) if region else None,
            tuple(sorted({*_region_labels(target.jurisdiction.id, region), *hardware})),
        )
        for region in (sorted(target.regions) or (None,))
    )
    _refuse_unmatchable(found, target.where)
    return found


def _region_labels(jurisdiction: str, region: Region | None) -> tuple[NodeLabel, ...]:
    inside = NodeLabel(JURISDICTION_LABEL, jurisdiction, "administrator")
    if region is None:
        return (inside,)
    if region.provider == _SITE:
        return (inside, NodeLabel(SITE_LABEL, region.name, "administrator"))
    return (
        inside,
        NodeLabel(PROVIDER_LABEL, region.provider, "administrator"),
        NodeLabel(REGION_LABEL, region.name, "provider"),
    )


def _hardware_labels(target: PlannedTarget) -> tuple[NodeLabel, ...]:
    platform = target.hardware.platform
    wanted = dict(target.hardware.node_labels)
    wanted["kubernetes.io/os"] = platform.os
    wanted["kubernetes.io/arch"] = platform.architecture
    return tuple(NodeLabel(key, value, "node") for key, value in wanted.items())


def _refuse_unmatchable(found: tuple[Place, ...], where: str) -> None:
    wrong = {label for place in found for label in place.labels if not is_label_value(label.value)}
    if wrong:
        raise InputError.of(
            [
                Finding(
                    f"no Kubernetes node can carry the label {label.key}",
                    where=where,
                    expected="at most 63 letters, digits, '-', '_' and '.'",
                    got=repr(label.value),
                    next_step="give the region, site or profile a name that a label can hold",
                )
                for label in sorted(wrong)
            ]
        )
