"""A Helm chart as an OCI artifact of the layout."""

from __future__ import annotations

from dataclasses import dataclass

from packager.domain.artifact import NamedArtifact
from packager.domain.target import TargetName

# Where charts lie below a jurisdiction's registry; Helm wants the chart's name and version last.
CHARTS = "charts"


def chart_repository(registry: str, target: TargetName, name: str) -> str:
    """Helm puts the chart's own name last, so what tells targets apart comes before it."""
    return f"{registry}/{CHARTS}/{target.jurisdiction}-{target.hardware}/{name}"


@dataclass(frozen=True, slots=True)
class PackedChart(NamedArtifact):
    """A target's chart: `registry/charts/<jurisdiction>-<hardware>/<chart>:<version>`."""
