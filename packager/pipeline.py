"""The whole product, as a table of contents.

`build` takes a request to a signed release folder in six verbs: check, optimize, assemble, attest,
render, seal. `verify`, `run` and `push` are what happens to the folder afterwards. Engines never
meet each other; they meet here, through the values of `packager.domain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packager import steps
from packager.attest.keys import open_signer, read_public_key
from packager.attest.sealing import seal
from packager.attest.verifying import VerificationReport
from packager.attest.verifying import verify as verify_folder
from packager.canonical import SourceDateEpoch
from packager.catalogue import Catalogue, load_catalogue
from packager.comply.refusing import refuse
from packager.domain.decision import Decision
from packager.domain.release import Plan, Release, ReleaseRequest
from packager.domain.target import TargetName
from packager.oci.registry import push as push_layout
from packager.plan import make_plan
from packager.progress import Progress
from packager.release_folder import ReleaseFolder
from packager.workspace import cache_folder, publishing, refuse_existing


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build needs beside the request.

    `key` names the signer (a file or `env://NAME`); `lock_file` and `measurements` are the pinned
    inputs, made by the first build and read by the next ones; `mirror` overrides where Debian
    packages come from; `targets` and `templates` are the user's own folders.
    """

    output: Path
    key: str
    lock_file: Path
    measurements: Path
    mirror: str | None = None
    targets: Path | None = None
    templates: Path | None = None


def build(request: ReleaseRequest, options: BuildOptions, progress: Progress) -> Release:
    """A model and its targets in, one signed release folder out. Same inputs and lock, same bytes.

    Raises PolicyRefusal before any work when a target is refused; whatever stops the work, nothing
    is published and nothing of the user's is touched.
    """
    refuse_existing(options.output)
    catalogue = load_catalogue(options.targets)
    plan = make_plan(request, catalogue, SourceDateEpoch.from_environment())
    signer = open_signer(options.key)

    decisions = check(plan, catalogue)
    with publishing(options.output) as folder:
        models = steps.optimize(plan, options.measurements, folder, progress)
        lock = steps.lock(plan, options.lock_file, options.mirror, progress)
        built = steps.assemble(plan, models, lock, decisions, folder, options.mirror, progress)
        steps.attest(request, built, lock, plan.epoch, signer, folder, progress)
        steps.render(request, built, options.templates, folder, progress)
        steps.report(request, built, folder)
        progress.step("seal the release")
        digest = seal(folder, steps.describe(request, built, lock, plan.epoch), signer)

    return Release(
        folder=options.output,
        name=request.name,
        version=request.version,
        digest=digest,
        targets=tuple((str(target.plan.name), target.pinned_reference) for target in built),
    )


def decide(plan: Plan, catalogue: Catalogue) -> dict[TargetName, tuple[Decision, ...]]:
    """How every rule comes out for every target, refused or not."""
    return steps.decide(plan, catalogue)


def check(plan: Plan, catalogue: Catalogue) -> dict[TargetName, tuple[Decision, ...]]:
    """The decisions, when no target is refused. Raises PolicyRefusal with all violations."""
    decisions = decide(plan, catalogue)
    refuse({str(name): made for name, made in decisions.items()})
    return decisions


def verify(folder: Path, key: Path, progress: Progress) -> VerificationReport:
    """Check a release folder against the caller's public key. Raises VerificationError."""
    return verify_folder(folder, read_public_key(key), progress)


def open_verified(folder: Path, key: Path, progress: Progress) -> ReleaseFolder:
    """The release in `folder`, believed only now that its signature was checked."""
    verify(folder, key, progress)
    return ReleaseFolder.read(folder)


def push(
    folder: Path, key: Path, registry: str | None, plain_http: bool, progress: Progress
) -> dict[str, str]:
    """Verify a release, then push its images and signatures; target → pinned reference.

    Each jurisdiction's images go where the release says, or all below `registry` when given.
    """
    release = open_verified(folder, key, progress)
    return push_layout(
        release.images_folder,
        release.repositories(registry),
        plain_http=plain_http,
        progress=progress,
    )


def store_folder() -> Path:
    """Where layers are kept between builds."""
    return cache_folder() / "layers"
