"""How the layers of a release are compressed: what every engine at its targets can read."""

from __future__ import annotations

from packager.content import Compression
from packager.domain.release import Plan
from packager.domain.target import DeploymentPlatform

# containerd reads zstd from 1.5 on, CRI-O and podman for longer; Docker from 23 on, and an engine
# that runs Compose files may be older. A bare process has its image unpacked by us.
_READ_ZSTD = frozenset({DeploymentPlatform.KUBERNETES, DeploymentPlatform.QUADLET})


def compression_for(plan: Plan, asked: Compression | None) -> Compression:
    """One form for the whole release, so that its targets share their layers."""
    if asked:
        return asked
    platforms = {target.name.platform for target in plan.targets}
    return Compression.ZSTD if platforms <= _READ_ZSTD else Compression.GZIP
