"""Bundles for many sites at once, each as small as what the site has allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packager import pipeline
from packager.attest.opening import open_front
from packager.attest.trust import read_trust
from packager.bundle.composing import ROOT
from packager.bundle.fleet import MAX_REPORT, Drift, SiteReport, SiteStanding, drift_of
from packager.bundle.opening import open_source
from packager.bundle.reading import looks_like_bundle
from packager.carrying import MAX_ROOT
from packager.digest import Digest
from packager.domain.target import DeploymentPlatform, TargetName
from packager.domain.trust import TrustFiles
from packager.errors import Finding, InputError, PackagerError
from packager.progress import Progress
from packager.release_folder import ReleaseFolder
from packager.release_source import read_bounded
from packager.site.profile import Site, read_site
from packager.workspace import publishing

STATUS_ENDING = ".status.json"


def standings(
    release: Path, trust: TrustFiles, sites: Sequence[Path], progress: Progress
) -> tuple[ReleaseFolder, tuple[SiteStanding, ...]]:
    """How each site stands against a release whose signature is checked first.

    `sites` are site profiles; a site's report lies beside its profile, named after it:
    `riyadh.yaml`, `riyadh.status.json`. Raises InputError with all that cannot be read.
    """
    policy = read_trust(trust)
    source = pipeline.source_of(release, policy, progress)
    open_front(source, policy, progress)
    found = ReleaseFolder.read(source)
    rows = []
    names: dict[str, Path] = {}
    findings: list[Finding] = []
    for file in sites:
        try:
            site, report = read_site(file), _report(file)
            if (other := names.setdefault(site.name, file)) != file:
                raise InputError(f"two sites are named {site.name}", where=f"{other}, {file}")
        except InputError as error:
            findings += error.findings
            continue
        rows.append(_standing(site, report, found))
    if findings:
        raise InputError.of(findings)
    return found, tuple(rows)


def bundle_for(
    release: Path,
    trust: TrustFiles,
    sites: Sequence[Path],
    output: Path,
    older: Path | None,
    progress: Progress,
) -> tuple[ReleaseFolder, tuple[SiteStanding, ...]]:
    """For each site that lacks the release a bundle of its targets in the new folder `output`.

    With `older`, a folder of older releases, a site gets a delta that stands on the one that it
    serves, for the target that it serves, unless its report says that it did not keep the files.
    """
    found, rows = standings(release, trust, sites, progress)
    known = _older_releases(older) if older else {}
    made: dict[tuple[tuple[str, ...], Path | None], str] = {}
    done = []
    with publishing(output) as work:
        for file, row in zip(sites, rows, strict=True):
            if row.drift in (Drift.CURRENT, Drift.AHEAD, Drift.UNFIT):
                done.append(row)
                continue
            report = _report(file)
            serving = report.serving if report else None
            same = serving and row.targets == (serving.target,)
            has_files = serving is not None and serving.stock is not False
            base = known.get(serving.release) if serving and same and has_files else None
            key = (row.targets, base)
            if key not in made:
                made[key] = f"{row.name}.tar"
                targets = [TargetName.parse(target) for target in row.targets]
                pipeline.bundle(
                    release, trust, work.release / made[key], targets, progress, delta_from=base
                )
            stands_on = f"{found.name} {serving.version}" if base and serving else ""
            size = (work.release / made[key]).stat().st_size
            done.append(replace(row, bundle=made[key], size=size, base=stands_on))
    return found, tuple(done)


def _standing(site: Site, report: SiteReport | None, release: ReleaseFolder) -> SiteStanding:
    targets = _fitting(site, release)
    drift = drift_of(report, release.name, release.version, release.digest, bool(targets))
    serving = report.serving if report else None
    return SiteStanding(
        site.name,
        site.jurisdiction,
        str(site.region),
        targets,
        drift,
        serving.version if serving else "",
        report.ready if report else None,
        release.version,
        report.kept if report else (),
        report.time if report else "",
    )


def _fitting(site: Site, release: ReleaseFolder) -> tuple[str, ...]:
    """The targets that the site's installer could choose: its engine's own platform, else the
    other one, which either engine runs as well."""
    names = [
        target.name
        for target in release.targets
        if target.name.platform in site.engine.platforms
        and target.name.jurisdiction == site.jurisdiction
        and site.hardware in ("", target.name.hardware)
    ]
    own = DeploymentPlatform.QUADLET if site.engine.is_podman else DeploymentPlatform.COMPOSE
    return tuple(str(name) for name in names if name.platform is own) or tuple(map(str, names))


def _report(profile: Path) -> SiteReport | None:
    """What the site said of itself, None when nothing was carried back."""
    file = profile.with_name(f"{profile.stem}{STATUS_ENDING}")
    try:
        with file.open("rb") as stream:
            return SiteReport.parse(stream.read(MAX_REPORT + 1), str(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            "the report of a site cannot be read", where=str(file), got=error.strerror
        ) from error


def _older_releases(folder: Path) -> dict[Digest, Path]:
    """Releases and whole bundles in a folder, by the digests of their release.json."""
    if not folder.is_dir():
        raise InputError("there is no folder of older releases", where=str(folder))
    found: dict[Digest, Path] = {}
    for path in sorted(folder.iterdir()):
        if not ((path / ROOT).is_file() or looks_like_bundle(path)):
            continue
        try:
            source = open_source(path)
        except PackagerError:
            continue  # a delta, or a damaged one: others may do
        found.setdefault(Digest.of(read_bounded(source, ROOT, MAX_ROOT)), path)
    return found
