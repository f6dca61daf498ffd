"""Bring a release into service at a site. Needs no network.

The release is verified here, with all that a trust policy can say; then its own signed `install.sh`
does the rest, the same program that a site without Python runs by hand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from packager import pipeline
from packager.attest.keys import read_public_key
from packager.attest.trust import read_trust
from packager.attest.verifying import verify
from packager.bundle.opening import stands_on
from packager.carrying import MAX_ROOT, Listing
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.errors import (
    CallError,
    Finding,
    InputError,
    NoSpaceError,
    PolicyRefusal,
    UnavailableError,
    VerificationError,
)
from packager.oci.decryption import DecryptionKey
from packager.oci.encryption import is_encrypted
from packager.oci.layout import read_layout
from packager.progress import Progress
from packager.release_folder import ReleasedTarget, ReleaseFolder
from packager.release_source import ReleaseSource, read_bounded
from packager.site.driving import drive, outcome
from packager.site.fitting import target_for
from packager.site.profile import Site, read_site
from packager.site.scratch import MEMORY, scratch_folder, secret_folder, sweep
from packager.site.state import INSTALLER, read_state, stock_of
from packager.steps.decrypting import plain_layout

REGISTRY = "oci://"
_SCRIPT_LIMIT = 4 << 20
_COPIES = 2  # an encrypted layer out of a bundle, and the plain one


def install(
    release: str | Path,
    trust: TrustFiles,
    site_file: Path,
    *,
    bases: Sequence[Path] = (),
    target: TargetName | None = None,
    operator: str = "",
    dry_run: bool = False,
    plain_http: bool = False,
    decryption_key: Path | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Verify a release and bring it into service; the record of it, or of a dry run what would be.

    `release` is a path, or `oci://registry/repository:version` of a registry that the site reaches.
    A delta stands on `bases`, oldest first; without them on what the site kept of an installed
    bundle. `decryption_key` opens an encrypted model; its plain image lies in memory, else beside
    the site's data, until the engine has it, and nowhere afterwards. Without keys of the caller's
    the site's own are believed. Raises VerificationError before anything is touched, PolicyRefusal
    when the release is not for this site or machine, UnavailableError for what may be better in an
    hour, PackagerError when the new version did not hold and the one before serves again.
    """
    site = read_site(site_file)
    trust = _trust(trust, site)
    key = DecryptionKey(decryption_key) if decryption_key else None
    for folder in (site.data, MEMORY):
        sweep(folder)
    with ExitStack() as stack:
        try:
            path = _brought(release, bases, trust, site, target, plain_http, stack, progress)
        except NoSpaceError as error:
            # As the installer says of space that it lacks: later there may be some.
            raise UnavailableError.of(error.findings) from None
        return _install_whole(path, trust, site, target, operator, dry_run, key, stack, progress)


def _brought(
    release: str | Path,
    bases: Sequence[Path],
    trust: TrustFiles,
    site: Site,
    target: TargetName | None,
    plain_http: bool,
    stack: ExitStack,
    progress: Progress,
) -> Path:
    """Where the whole release lies: as it was given, or made whole beside the site's data."""
    if not is_registry(release):
        path = Path(release)
        bases = _bases(path, bases, site)
        return _whole(path, bases, trust, site, stack, progress) if bases else path
    path = _scratch(site, stack) / "release.tar"
    pipeline.pull(
        str(release),
        trust,
        path,
        lambda names: [target or target_for(site, [TargetName.parse(name) for name in names])],
        plain_http,
        progress,
    )
    return path


def is_registry(release: str | Path) -> bool:
    """Whether a release is named by its place in a registry."""
    return str(release).startswith(REGISTRY)


def _scratch(site: Site, stack: ExitStack) -> Path:
    """A folder beside the site's data, where there is space for a release; gone afterwards."""
    return stack.enter_context(scratch_folder(_near(site)))


def _near(site: Site) -> Path | None:
    return site.data if site.data.is_dir() else None


def _trust(trust: TrustFiles, site: Site) -> TrustFiles:
    trust = replace(
        trust,
        keys=trust.keys or site.key_files,
        required=max(trust.required, site.require),
        revoked=(*trust.revoked, *site.revoked),
    )
    if not trust.keys:
        raise CallError(
            "no public key is given",
            where=f"{site.file}: keys",
            next_step="give the key from paper with --key, or name it in the site profile",
        )
    _refuse_unknown(trust.keys, site)
    if trust.required > len(trust.keys):
        raise VerificationError(
            "more signatures are required than keys are given",
            where=f"{site.file}: require",
            expected=f"{trust.required} keys",
            got=str(len(trust.keys)),
            next_step="give the other keys with --key, or name them in the profile (keys)",
        )
    return trust


def _refuse_unknown(keys: Sequence[Path], site: Site) -> None:
    """A key that is given must be one that the site names, if it names any."""
    known = {read_public_key(file).fingerprint for file in site.key_files}
    unknown = [key for key in keys if known and read_public_key(key).fingerprint not in known]
    if unknown:
        raise PolicyRefusal.of(
            [
                Finding(
                    "the key is none that the site trusts",
                    where=str(key),
                    expected=f"one of {site.file}: keys",
                    got=read_public_key(key).fingerprint,
                )
                for key in unknown
            ]
        )


def _bases(release: Path, given: Sequence[Path], site: Site) -> Sequence[Path]:
    """What a delta stands on: what is given, else what the site has; nothing for what is whole."""
    wanted = stands_on(release)
    if wanted is None and given:
        raise CallError(
            "this bundle is whole: it stands on no other release",
            where=str(release),
            next_step="install it without --base",
        )
    if wanted is None or given:
        return given
    kept = stock_of(site.data, wanted.base)
    if kept is None:
        raise CallError(
            "this is a delta, and what it stands on is not here",
            where=str(release),
            expected=f"{wanted.name} {wanted.version}, {wanted.base}",
            next_step="name that release with --base: a folder, a bundle, or its parts",
        )
    return [kept]


def _whole(
    delta: Path,
    bases: Sequence[Path],
    trust: TrustFiles,
    site: Site,
    stack: ExitStack,
    progress: Progress,
) -> Path:
    """The whole bundle of a delta on older releases."""
    whole = _scratch(site, stack) / "release.tar"
    pipeline.apply_deltas(bases[0], [*bases[1:], delta], trust, whole, progress)
    return whole


def _install_whole(
    release: Path,
    trust: TrustFiles,
    site: Site,
    target: TargetName | None,
    operator: str,
    dry_run: bool,
    key: DecryptionKey | None,
    stack: ExitStack,
    progress: Progress,
) -> dict[str, Any]:
    policy = read_trust(trust)
    source = pipeline.source_of(release, policy, progress)
    report = verify(source, policy, progress)
    found = ReleaseFolder.read(source)
    chosen = found.target(target or target_for(site, [released.name for released in found.targets]))
    home = site.data / found.name
    arguments: list[str | Path] = [
        *("install", "--site", site.file, "--operator", operator),
        *("--verified", report.digest.hex, "--signed-by", " ".join(report.keys)),
    ]
    state = read_state(home)
    newest = state.counter if state else None
    if newest is not None and policy.permits_rollback(report.digest, newest):
        arguments += ["--permitted", report.digest.hex]
    if dry_run:
        arguments.append("--dry-run")
    image = read_layout(found.images, check_layers=False).image_of(chosen.digest) if key else None
    if key and image and is_encrypted(image):
        room = _COPIES * sum(layer.descriptor.size for layer in image.layers)
        scratch = stack.enter_context(secret_folder(_near(site), room))
        plain = plain_layout(found, chosen, key, scratch / "image", progress).layout
        arguments += ["--plain", plain]
    own = stack.enter_context(tempfile.TemporaryDirectory(prefix="packager-install-"))
    script = Path(own) / INSTALLER
    script.write_bytes(_signed_script(source, chosen))
    told = drive(script, [*arguments, release.absolute()], progress)
    return outcome(home, told, dry_run)


def _signed_script(source: ReleaseSource, target: ReleasedTarget) -> bytes:
    """The installer of a verified release, compared once more as it is read."""
    path = f"{target.manifests}/{INSTALLER}"
    listing = Listing.parse(read_bounded(source, "release.json", MAX_ROOT))
    if path not in listing.files:
        raise InputError(
            "the release brings no installer for this target",
            where=path,
            next_step="build it again with this version of packager; a chart is for Helm",
        )
    return listing.checked(path, read_bounded(source, path, _SCRIPT_LIMIT))
