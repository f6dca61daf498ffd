"""One step of the pipeline on its own: optimize or its plan, lock, render."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packager import pipeline, steps
from packager.assemble.fetch import fetch
from packager.assemble.lock_file import lock_bytes, read_lock
from packager.assemble.resolve import is_fresh, resolve
from packager.bundle.opening import open_source
from packager.domain.lock import Lock, LockedEnvironment
from packager.domain.release import ReleaseRequest
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.errors import InputError, LockError, PackagerError, UnavailableError
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.effort import Effort
from packager.optimize.evidence import quality_record
from packager.optimize.exporting import onnx_source
from packager.optimize.packaging import write_package
from packager.optimize.planning import planned
from packager.optimize.reading import load_graph, read_model
from packager.optimize.text.candidates import text_candidates
from packager.optimize.text.source import read_text_model
from packager.progress import Progress
from packager.release_folder import ReleaseFolder
from packager.render.settings import parse_settings
from packager.workspace import cache_folder, copy_atomically, publishing, write_atomically


def optimize(
    request: ReleaseRequest,
    targets: Path | None,
    measurements: Path,
    output: Path,
    progress: Progress,
    *,
    package: bool = False,
    effort: Effort = Effort(),  # noqa: B008 - a frozen value
) -> dict[str, Any]:
    """Optimize for each hardware profile; hardware id → quality record.

    The chosen models stand under `output/models/<hardware>/`, the records under
    `output/evidence/`; with `package` the models also as `output/<name>.ortpackage`. Nothing is
    refused here: the policy is asked by `check` and `build`.
    """
    _refuse_several(request)
    plan, _ = pipeline.check(request, targets)
    with publishing(output) as work:
        models = steps.optimize(plan, measurements, work, progress, effort)
        records = {name: quality_record(model) for name, model in models.items()}
        for name, model in models.items():
            for file in model.model.files:
                copy_atomically(file.path, work.release / "models" / name / file.name)
        if package:
            profiles = {one.id: one for one in steps.distinct_hardware(plan)}
            folder = work.release / f"{request.name}.ortpackage"
            write_package(models, profiles, request.name, request.version, folder)
    return records


def plan_optimization(
    request: ReleaseRequest, targets: Path | None, progress: Progress
) -> dict[str, list[dict[str, object]]]:
    """Hardware id → the candidates that would be tried or not, with reasons. Makes nothing."""
    _refuse_several(request)
    plan, _ = pipeline.check(request, targets)
    progress.step(f"read the model {request.model_path}")
    text = request.serving.generation
    if text:
        model = read_text_model(text)
    else:
        model = read_model(onnx_source(request.model_path, cache_folder()))
    rules = text_candidates if text else candidates
    anatomy = anatomy_of(load_graph(model.files[0].path))
    return {
        hardware.id: [row.as_dict() for row in planned(rules(anatomy, hardware))]
        for hardware in steps.distinct_hardware(plan)
    }


def _refuse_several(request: ReleaseRequest) -> None:
    """Raises InputError for a release of several models: one is optimized by itself."""
    if request.beside:
        raise InputError(
            "the optimizer alone takes one model, and the release has several",
            where=f"{request.where}: models",
            got=", ".join(str(one.model_name) for one in request.models),
            next_step="name a model's file with -j, -w and -p; `packager build` optimizes all",
        )


def lock(
    request: ReleaseRequest,
    targets: Path | None,
    file: Path,
    sources: steps.Sources,
    upgrade: bool,
    progress: Progress,
) -> Lock:
    """Bring the lock in `file` up to date and fetch everything that it names.

    A lock that is fresh and whose packages can still be had is kept, unless `upgrade`.
    """
    known = _known(file) if file.exists() and not upgrade else None
    request = steps.with_pinned_base(request, file if known else None, progress)
    plan, _ = pipeline.check(request, targets)
    hardware, features = steps.distinct_hardware(plan), request.features
    architectures = {profile.platform.architecture for profile in hardware}
    made = None
    fresh = known and is_fresh(known, hardware, sources.wheels, features)
    if known and fresh and _fetched(known, sources, progress):
        if steps.pins_base(known, request.base, architectures):
            return known
        made = known
    if made is None:
        progress.step("resolve packages and wheels")
        made = resolve(
            hardware,
            mirror_option=sources.mirror,
            wheels=sources.wheels,
            features=features,
            progress=progress,
        )
        for environment in made.environments:
            progress.step(f"fetch {environment.key}")
            _fetch(environment, sources, progress)
    made = replace(made, base=steps.locked_base(request.base, architectures, progress))
    write_atomically(file, lock_bytes(made))
    return made


def render(
    request: ReleaseRequest,
    targets: Path | None,
    release: Path,
    trust: TrustFiles,
    chosen: TargetName | None,
    output: Path,
    templates: Path | None,
    settings: Sequence[str],
    progress: Progress,
) -> tuple[str, ...]:
    """Render the manifests again for the images of a verified release; names of the files.

    Profiles, regions, templates and `settings` (`name=value`) are those given now, the images and
    measured figures those of the release. Raises PolicyRefusal as a build would.
    """
    figures = parse_settings(settings)
    plan, decisions = pipeline.check(request, targets)
    pipeline.refuse_violations(decisions)
    signer = pipeline.verify(release, trust, progress).signer
    folder = ReleaseFolder.read(open_source(release))
    built = steps.rebuilt(plan, decisions, folder, chosen)
    if not built:
        raise PackagerError("nothing to render", where="--target", got=str(chosen))
    with publishing(output) as work:
        steps.render(request, built, templates, signer.pem, work.release, progress, figures)
        names = [path for path in work.release.rglob("*") if path.is_file()]
        written = sorted(path.relative_to(work.release).as_posix() for path in names)
    return tuple(written)


def _known(file: Path) -> Lock | None:
    """The lock that stands there; None when it cannot be read, since it is about to be replaced."""
    try:
        return read_lock(file)
    except LockError:
        return None


def _fetched(known: Lock, sources: steps.Sources, progress: Progress) -> bool:
    """Whether everything that a lock names is in the cache or can still be had."""
    try:
        for environment in known.environments:
            progress.step(f"fetch {environment.key}")
            _fetch(environment, sources, progress)
    except (UnavailableError, LockError) as error:
        progress.note(f"the lock is made anew: {error.findings[0].what}")
        return False
    return True


def _fetch(environment: LockedEnvironment, sources: steps.Sources, progress: Progress) -> None:
    fetch(
        environment,
        cache_folder(),
        mirror_option=sources.mirror,
        wheels=sources.wheels,
        progress=progress,
    )
