"""The whole product, as a table of contents.

`build` takes a request to a signed release folder in six verbs: check, optimize, assemble, attest,
render, seal. The functions after it run one of them alone, or do something with the folder that
came out. Engines never meet each other; they meet here, through the values of `packager.domain`.

What only some of the verbs need, and what takes long to load (the optimizer's numpy and onnx, the
registry's HTTP), is read when it is called for: verifying starts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packager import steps
from packager.attest.image_verifying import ImageReport, verify_image
from packager.attest.keys import open_signers
from packager.attest.opening import open_front
from packager.attest.sealing import seal
from packager.attest.signed_file import Signatures, check_document, document_signer
from packager.attest.step_runner import told_as
from packager.attest.trust import TrustPolicy, read_trust
from packager.attest.verifying import OPENING, VerificationReport
from packager.attest.verifying import verify as verify_release
from packager.bundle.bundling import Bundled, bundle_release
from packager.bundle.opening import open_source
from packager.bundle.parts import Parts
from packager.bundle.rebuilding import RebuiltSource
from packager.bundle.writing import Split
from packager.canonical import SourceDateEpoch
from packager.catalogue import load_catalogue
from packager.comply.deciding import decide
from packager.comply.refusing import refuse
from packager.comply.transfers import Transfer, matrix
from packager.domain.decision import Decision, Status
from packager.domain.release import Plan, Release, ReleaseRequest
from packager.domain.target import DataClass, TargetName
from packager.domain.trust import TrustFiles
from packager.errors import PolicyRefusal, VerificationError
from packager.oci.holders import Holders
from packager.optimize.effort import Effort
from packager.plan import make_plan
from packager.progress import Progress
from packager.release_folder import ReleaseFolder
from packager.release_source import ReleaseSource
from packager.workspace import publishing, refuse_existing

Decisions = dict[TargetName, tuple[Decision, ...]]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build needs beside the request.

    `key` names the signer (a file or `env://NAME`), `also` those that sign the root beside it;
    `lock_file` and `measurements` are the pinned
    inputs, made by the first build and read by the next ones; `sources` says where foreign parts
    come from; `effort` says who optimizes; `targets` and `templates` are the user's own folders.
    """

    output: Path
    key: str
    lock_file: Path
    measurements: Path
    sources: steps.Sources = field(default_factory=steps.Sources)
    targets: Path | None = None
    templates: Path | None = None
    also: tuple[str, ...] = ()
    effort: Effort = field(default_factory=Effort)


def build(request: ReleaseRequest, options: BuildOptions, progress: Progress) -> Release:
    """A model and its targets in, one signed release folder out. Same inputs and lock, same bytes.

    Raises PolicyRefusal before any work when a target is refused; whatever stops the work, nothing
    is published and nothing of the user's is touched.
    """
    refuse_existing(options.output)
    request = steps.with_pinned_base(request, options.lock_file, progress)
    plan, decisions = check(request, options.targets)
    refuse_violations(decisions)
    signer, *also = open_signers([options.key, *options.also])

    with publishing(options.output) as work:
        models = steps.optimize_models(plan, options.measurements, work, progress, options.effort)
        lock = steps.lock(plan, options.lock_file, options.sources, progress)
        images = steps.assemble(
            plan, models, lock, decisions, work.release, options.sources, progress
        )
        built = images.targets
        steps.attest(
            request, built, lock, plan.epoch, signer, images.layout, work.release, progress
        )
        steps.render(
            request, built, options.templates, signer.public_key_pem(), work.release, progress
        )
        charts = steps.pack_charts(built, plan.epoch, signer, images.layout, work.release, progress)
        indexes = steps.index_images(built, signer, images.layout)
        images.layout.close()
        steps.report(request, built, plan.epoch, work.release)
        progress.step("seal the release")
        document = steps.describe(request, built, lock, plan.epoch, charts, indexes)
        digest = seal(work.release, document, signer, also=also)

    return Release(
        folder=options.output,
        name=request.name,
        version=request.version,
        digest=digest,
        targets=tuple((str(target.plan.name), target.pinned_reference) for target in built),
        indexes=tuple(index.pinned for index in indexes),
    )


def check(request: ReleaseRequest, targets: Path | None = None) -> tuple[Plan, Decisions]:
    """The plan, and how every rule comes out for every target, refused or not. Builds nothing."""
    steps.refuse_unusable_recipients(request)
    catalogue = load_catalogue(targets)
    plan = make_plan(request, catalogue, SourceDateEpoch.from_environment())
    return plan, {
        target.name: decide(
            target, request, catalogue.country_of, catalogue.distance_km, catalogue.home_of
        )
        for target in plan.targets
    }


def transfers(
    targets: Path | None, data: DataClass, origin: str | None = None
) -> tuple[Transfer, ...]:
    """For whose data inference may happen where: every pair of profiles, or one profile's row."""
    catalogue = load_catalogue(targets)
    profiles = [catalogue.jurisdiction(name) for name in catalogue.jurisdiction_ids()]
    origins = [catalogue.jurisdiction(origin)] if origin else profiles
    return matrix(origins, profiles, [data])


def refuse_violations(decisions: Decisions) -> None:
    """Raises PolicyRefusal with all violations of all targets, when there is one."""
    refuse({str(name): made for name, made in decisions.items()})


def exit_code(decisions: Decisions) -> int:
    """3 when a target is refused, else 0."""
    violated = any(
        decision.status is Status.VIOLATED for made in decisions.values() for decision in made
    )
    return PolicyRefusal.exit_code if violated else 0


def verify(
    release: Path,
    trust: TrustFiles,
    progress: Progress,
    bases: Sequence[Path] = (),
    *,
    contents: bool = False,
) -> VerificationReport:
    """Check a release, in a folder or a bundle, against the keys that the caller trusts; a delta
    together with the releases that it stands on. With `contents`, layers are unpacked too.

    Raises VerificationError.
    """
    policy = read_trust(trust)
    with told_as(*OPENING):
        source = source_of(release, policy, progress, bases)
    return verify_release(source, policy, progress, contents=contents)


def verify_pushed(
    reference: str,
    trust: TrustFiles,
    progress: Progress,
    *,
    repository: str | None = None,
    plain_http: bool = False,
    contents: bool = False,
) -> ImageReport:
    """Check one image in a registry, to its last byte, against the keys that the caller trusts.

    `repository` is the one that it was signed for, where the registry is a mirror. Raises
    VerificationError.
    """
    from packager.oci.registry_reading import ImageName, RemoteImages

    name, policy = ImageName.parse(reference), read_trust(trust)
    with RemoteImages(name, plain_http=plain_http) as images:
        return verify_image(
            images,
            name.key,
            policy,
            repository=repository,
            progress=progress,
            contents=contents,
        )


def open_verified(release: Path, trust: TrustFiles, progress: Progress) -> ReleaseFolder:
    """The release in a folder or a bundle, believed only now that its signature was checked."""
    policy = read_trust(trust)
    source = source_of(release, policy, progress)
    verify_release(source, policy, progress)
    return ReleaseFolder.read(source)


@dataclass(frozen=True, slots=True)
class Cut:
    """Parts of at most `size` bytes, whose index the signer named `key` signs."""

    size: int
    key: str


def bundle(
    release: Path,
    trust: TrustFiles,
    output: Path,
    targets: Sequence[TargetName],
    progress: Progress,
    cut: Cut | None = None,
    delta_from: Path | None = None,
) -> Bundled:
    """One file for the border, or parts of it, of all targets or those named; with `delta_from`
    only what that older release does not have.

    Raises VerificationError for what is not as signed, before or while it is copied.
    """
    split = Split(cut.size, document_signer(open_signers([cut.key])[0])) if cut else None
    policy = read_trust(trust)
    source = source_of(release, policy, progress)
    front = open_front(source, policy, progress)
    chosen = tuple(str(target) for target in targets)
    old = open_source(delta_from) if delta_from else None
    return bundle_release(source, front.seal, chosen, output, progress, split, old)


def apply_deltas(
    old: Path, deltas: Sequence[Path], trust: TrustFiles, output: Path, progress: Progress
) -> Bundled:
    """The whole bundle of the newest of `deltas`, which stand on each other and the first on `old`:
    byte for byte the one that was never cut down.

    Raises VerificationError, naming the release at fault, when they do not belong together or what
    comes out is not as signed.
    """
    policy = read_trust(trust)
    source = source_of(deltas[-1], policy, progress, [old, *deltas[:-1]])
    try:
        front = open_front(source, policy, progress)
        return bundle_release(source, front.seal, (), output, progress)
    except VerificationError:
        if isinstance(source, RebuiltSource):
            source.check_base(progress)
        raise


def push(
    folder: Path, trust: TrustFiles, registry: str | None, plain_http: bool, progress: Progress
) -> dict[str, str]:
    """Verify a release, then push its images, indexes and charts, each with its signature, and
    beside them the release itself, to install from; name → pinned reference.

    Each jurisdiction's go where the release says, or all below `registry` when given.
    """
    from packager.oci.artifact_registry import push_artifacts
    from packager.oci.registry import push as push_layout

    release = open_verified(folder, trust, progress)
    holders = Holders()
    images = push_layout(
        release.images,
        release.repositories(registry),
        plain_http=plain_http,
        progress=progress,
        holders=holders,
    )
    others = push_artifacts(
        release.images,
        release.indexes(registry) | release.charts(registry),
        plain_http=plain_http,
        progress=progress,
        holders=holders,
    )
    releases = steps.push_releases(release, registry, plain_http, holders, progress)
    return images | others | releases


def pull(
    name: str,
    trust: TrustFiles,
    output: Path,
    choose: Callable[[Sequence[str]], Sequence[TargetName]],
    plain_http: bool,
    progress: Progress,
) -> Bundled:
    """The release that `push` left in a registry as a bundle, byte for byte the one that `bundle`
    makes of it; `name` is `registry/repository:version`. `choose` is told the names of the targets
    that are there, and says which are wanted (none: all).

    The signature is checked before anything else is fetched, every file while it is written. Raises
    VerificationError, UnavailableError when the registry does not answer.
    """
    from packager.oci.release_artifact import RegistrySource

    policy = read_trust(trust)
    with RegistrySource(name.removeprefix("oci://"), plain_http=plain_http) as source:
        front = open_front(source, policy, progress)
        chosen = tuple(str(target) for target in choose(source.targets))
        return bundle_release(source, front.seal, chosen, output, progress)


def source_of(
    release: Path, trust: TrustPolicy, progress: Progress, bases: Sequence[Path] = ()
) -> ReleaseSource:
    """A folder, a bundle, a delta on its bases, or parts, checked against their signed index."""

    def check_index(parts: Parts) -> None:
        signatures = Signatures(parts.sigstore, parts.raw_signature)
        check_document(parts.index, signatures, trust.usable, parts.location)

    return open_source(release, check_index, progress, bases)
