"""A Helm chart as an OCI artifact of the layout."""

from __future__ import annotations

from dataclasses import dataclass

from packager.digest import Digest
from packager.domain.artifact import Artifact
from packager.domain.target import TargetName

# Where charts lie below a jurisdiction's registry; Helm wants the chart's name and version last.
CHARTS = "charts"


def chart_repository(registry: str, target: TargetName, name: str) -> str:
    """Helm puts the chart's own name last, so what tells targets apart comes before it."""
    return f"{registry}/{CHARTS}/{target.jurisdiction}-{target.hardware}/{name}"


@dataclass(frozen=True, slots=True)
class PackedChart:
    """A target's chart, packed.

    `reference` is `registry/charts/<jurisdiction>-<hardware>/<chart>:<version>`.
    """

    reference: str
    artifact: Artifact

    @property
    def digest(self) -> Digest:
        """Of its manifest."""
        return self.artifact.descriptor.digest

    @property
    def pinned(self) -> str:
        """`registry/charts/<place>-<hardware>/<chart>@sha256:…`"""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"

    def as_dict(self) -> dict[str, object]:
        """As `release.json` names it."""
        return {
            "reference": self.reference,
            "pinned": self.pinned,
            "digest": str(self.digest),
        }
