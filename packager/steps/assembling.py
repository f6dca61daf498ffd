"""Turn every target into an image in one shared layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packager.assemble.fetch import fetch
from packager.assemble.layers import layers
from packager.assemble.resolve import environment_key
from packager.assemble.server_config import server_config
from packager.assemble.settings import image_settings
from packager.domain.artifact import Image
from packager.domain.decision import Decision
from packager.domain.lock import Lock, LockedEnvironment
from packager.domain.model import OptimizedModel
from packager.domain.release import BuiltTarget, Plan, PlannedTarget
from packager.domain.target import TargetName
from packager.errors import LockError
from packager.oci.image import write_image
from packager.oci.layer import LayerStore
from packager.oci.layout import LayoutWriter
from packager.progress import Progress
from packager.workspace import cache_folder


@dataclass(frozen=True, slots=True)
class Assembled:
    """The targets with their images, and the layout that is still open for signatures."""

    targets: tuple[BuiltTarget, ...]
    layout: LayoutWriter


def assemble(
    plan: Plan,
    models: Mapping[str, OptimizedModel],
    lock: Lock,
    decisions: Mapping[TargetName, tuple[Decision, ...]],
    release: Path,
    mirror: str | None,
    progress: Progress,
) -> Assembled:
    """Fetch what the lock names, write each layer once, and tie the layers to images."""
    store = LayerStore(cache_folder() / "layers", plan.epoch)
    layout = LayoutWriter(release / "images", store.blobs)
    built = []
    for target in plan.targets:
        progress.step(f"assemble {target.name}")
        image = _image(plan, target, models[target.hardware.id], lock, store, mirror, progress)
        layout.add_image(image)
        built.append(BuiltTarget(target, models[target.hardware.id], image, decisions[target.name]))
    return Assembled(tuple(built), layout)


def environment_of(target: PlannedTarget, lock: Lock) -> LockedEnvironment:
    """What the lock pins for a target's hardware. Raises LockError when it pins nothing."""
    environment = lock.environment(environment_key(target.hardware))
    if environment is None:
        raise LockError(
            "the lock does not name this hardware profile",
            where=target.where,
            expected=environment_key(target.hardware),
            next_step="bring it up to date: packager lock RELEASE.yaml",
        )
    return environment


def _image(
    plan: Plan,
    target: PlannedTarget,
    model: OptimizedModel,
    lock: Lock,
    store: LayerStore,
    mirror: str | None,
    progress: Progress,
) -> Image:
    environment = environment_of(target, lock)
    blobs = fetch(environment, cache_folder(), mirror_option=mirror, progress=progress)
    config = server_config(target, plan.request, model, plan.request.name)
    contents = layers(environment, blobs, model, plan.request.name, config)
    written = []
    for number, content in enumerate(contents, start=1):
        written.append(store.write(content))
        progress.advance(f"layer {content.kind}", number, len(contents))
    return write_image(
        written,
        image_settings(target, plan.request),
        target.hardware.platform,
        target.reference,
        plan.epoch,
        store.blobs,
    )
