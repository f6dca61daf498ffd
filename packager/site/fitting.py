"""Which of a release's targets is the one for a site."""

from __future__ import annotations

from collections.abc import Iterable

from packager.domain.target import DeploymentPlatform, TargetName
from packager.errors import Finding, PackagerError, PolicyRefusal
from packager.site.profile import Site


def target_for(site: Site, names: Iterable[TargetName]) -> TargetName:
    """The target that this site runs; raises PolicyRefusal when none fits."""
    names = list(names)
    fitting = [name for name in names if _fits(name, site)]
    if not fitting:
        raise _no_target(site, names)
    return min(fitting, key=lambda name: _second_best(name, site))


def _fits(name: TargetName, site: Site) -> bool:
    return (
        name.platform in site.engine.platforms
        and name.jurisdiction == site.jurisdiction
        and site.hardware in ("", name.hardware)
    )


def _second_best(name: TargetName, site: Site) -> bool:
    """An engine's own platform comes first; either engine runs either."""
    return (name.platform is DeploymentPlatform.QUADLET) != site.engine.is_podman


def _no_target(site: Site, names: Iterable[TargetName]) -> PackagerError:
    return PolicyRefusal.of(
        [
            Finding(
                "the release has no target for this site",
                where=str(site.file),
                expected=f"{site.jurisdiction}/{site.hardware or 'any'}/"
                + " or ".join(site.engine.platforms),
                got=", ".join(map(str, names)),
                next_step=f"get the release for {site.jurisdiction}",
            )
        ]
    )
