"""A target: jurisdiction × hardware × platform, with the places it may run in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeploymentPlatform(StrEnum):
    """What starts the image at the site."""

    KUBERNETES = "kubernetes"
    COMPOSE = "compose"
    QUADLET = "quadlet"
    HELM = "helm"

    @property
    def on_kubernetes(self) -> bool:
        return self in (DeploymentPlatform.KUBERNETES, DeploymentPlatform.HELM)


class DataClass(StrEnum):
    """The kind of data in the requests. Ordered by nothing: each law names its own."""

    PUBLIC = "public"
    PERSONAL = "personal"
    HEALTH = "health"
    FINANCIAL = "financial"
    GOVERNMENT = "government"


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A place. The same label lies in different countries with different providers, hence both.

    `site/<name>` is a room of the user's own; its country is what the user declares for it.
    """

    provider: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read `provider/region`; raises ValueError when there is no such pair."""
        provider, slash, name = text.partition("/")
        if not (provider and slash and name) or "/" in name:
            raise ValueError(f"not provider/region: {text!r}")
        return cls(provider, name)

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class TargetName:
    """`de/nvidia-l4/kubernetes`, the name of a target on the command line and in paths."""

    jurisdiction: str
    hardware: str
    platform: DeploymentPlatform

    @classmethod
    def parse(cls, text: str) -> TargetName:
        """Read three parts; raises ValueError for another form or an unknown platform."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"not jurisdiction/hardware/platform: {text!r}")
        return cls(parts[0], parts[1], DeploymentPlatform(parts[2]))

    def __str__(self) -> str:
        return f"{self.jurisdiction}/{self.hardware}/{self.platform.value}"

    @property
    def slug(self) -> str:
        """The name as one DNS label or tag part: `de-nvidia-l4-kubernetes`."""
        return str(self).replace("/", "-")

    @property
    def sbom_path(self) -> str:
        """Where the target's bill of materials stands in a release folder."""
        return f"evidence/sbom/{self.slug}.cdx.json"

    @property
    def spdx_path(self) -> str:
        """The same bill of materials as SPDX."""
        return f"evidence/sbom/{self.slug}.spdx.json"

    def model_signature_path(self, records: str = "") -> str:
        """Where the signature over the target's model stands (OpenSSF Model Signing); `records` is
        the folder of a model beside the first one."""
        return f"evidence/models/{records}{self.slug}.oms.sigstore.json"

    @property
    def provenance_path(self) -> str:
        """Where the target's provenance stands in a release folder."""
        return f"evidence/provenance/{self.slug}.slsa.json"
