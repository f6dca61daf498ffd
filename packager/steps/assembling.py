"""Turn every target into an image in one shared layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packager.assemble.base_contents import base_record, clearing_layer
from packager.assemble.device import Device
from packager.assemble.examining import examine
from packager.assemble.fetch import Fetched
from packager.assemble.generative import marks
from packager.assemble.gpu_libraries import shipped
from packager.assemble.inputs import Inputs
from packager.assemble.layers import layers
from packager.assemble.recipe import environment_key
from packager.assemble.server_config import server_config
from packager.assemble.serving_steps import accompanied
from packager.assemble.settings import image_settings
from packager.canonical import dumps_readable
from packager.content import Compression, LayerContent
from packager.domain.artifact import Image, Layer
from packager.domain.base import Base
from packager.domain.decision import Decision
from packager.domain.lock import Lock, LockedEnvironment
from packager.domain.model import OptimizedModel
from packager.domain.release import BuiltTarget, Plan, PlannedTarget
from packager.domain.target import TargetName
from packager.errors import LockError
from packager.oci.encryption import CIPHER, encrypt_image, read_recipient
from packager.oci.image import write_image
from packager.oci.layer import LayerStore
from packager.oci.layout import LayoutWriter
from packager.progress import Progress
from packager.steps.basing import base_of
from packager.steps.packing import compression_for
from packager.steps.sources import Sources
from packager.workspace import cache_folder, write_atomically

_AT_ONCE = 2


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
    sources: Sources,
    progress: Progress,
) -> Assembled:
    """Examine what the lock names, write each layer once, and tie the layers to images.

    What was found, chosen and cut stands in `evidence/images/<target>.json`.
    """
    store = LayerStore(cache_folder() / "layers", plan.epoch)
    layout = LayoutWriter(release / "images", store.blobs)
    sources = replace(sources, compression=compression_for(plan, sources.compression))
    built = []
    for target in plan.targets:
        progress.step(f"assemble {target.name}")
        model = accompanied(models[target.hardware.id], plan.request.serving)
        base = base_of(target, plan.request, lock, progress)
        image, record = _image(plan, target, model, lock, base, store, sources, progress)
        write_atomically(
            release / "evidence" / "images" / f"{target.name.slug}.json", dumps_readable(record)
        )
        layout.add_image(image)
        built.append(BuiltTarget(target, model, image, decisions[target.name], base))
    return Assembled(tuple(built), layout)


def _written(
    store: LayerStore, contents: Sequence[LayerContent], progress: Progress
) -> list[Layer]:
    """The layers in their order, two being made at a time: while one is read, the other is
    compressed, and what the store knows already is hashed beside."""
    made = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="layer") as pool:
        jobs = [pool.submit(store.write, content) for content in contents]
        try:
            for content, job in zip(contents, jobs, strict=True):
                made.append(job.result())
                progress.advance(f"layer {content.kind}", len(made), len(contents))
        finally:
            for job in jobs:
                job.cancel()
    return made


def shipped_environment(
    target: PlannedTarget, model: OptimizedModel, lock: Lock
) -> LockedEnvironment:
    """What of the lock goes into a target's image: GPU libraries only as the model needs them."""
    return shipped(environment_of(target, lock), model.model.operators)


def environment_of(target: PlannedTarget, lock: Lock) -> LockedEnvironment:
    """What the lock pins for a target's hardware. Raises LockError when it pins nothing."""
    key = environment_key(target.hardware, target.features)
    environment = lock.environment(key)
    if environment is None:
        raise LockError(
            "the lock does not name this hardware profile",
            where=target.where,
            expected=key,
            next_step="bring it up to date: packager lock RELEASE.yaml",
        )
    return environment


def _image(
    plan: Plan,
    target: PlannedTarget,
    model: OptimizedModel,
    lock: Lock,
    base: Base | None,
    store: LayerStore,
    sources: Sources,
    progress: Progress,
) -> tuple[Image, Mapping[str, Any]]:
    place = target.name.jurisdiction
    environment = shipped_environment(target, model, lock)
    fetched = Fetched(
        environment,
        cache_folder(),
        mirror_option=sources.mirror,
        wheels=sources.wheels,
        progress=progress,
    )
    inputs = Inputs(fetched)
    device = Device.of(target.hardware, environment, model, slimmed=sources.slim)
    examined = examine(environment, inputs, device, cache_folder())
    config = server_config(target, plan.request, model, plan.request.name)
    compression = sources.compression or Compression.GZIP
    cleared = clearing_layer(base.contents, compression) if base else None
    contents = (
        *([cleared] if cleared else []),
        *layers(
            environment,
            inputs,
            model,
            plan.request.name,
            config,
            device,
            examined.cut,
            compression,
        ),
    )
    written = [*base.layers.layers] if base else []
    written += _written(store, contents, progress)
    image = write_image(
        written,
        image_settings(target, plan.request),
        target.hardware.platform,
        target.reference,
        plan.epoch,
        store.blobs,
    )
    recipients = [read_recipient(path) for path in plan.request.recipients.get(place, ())]
    record = dict(examined.record)
    if base:
        record["base"] = base_record(base)
    if recipients:
        image = encrypt_image(image, recipients, store.blobs)
        record["encryption"] = {
            "cipher": CIPHER,
            "recipients": [
                {"key": recipient.fingerprint, "algorithm": recipient.algorithm}
                for recipient in recipients
            ],
        }
    weights = {
        layer.kind: {"digest": str(layer.descriptor.digest), "size": layer.descriptor.size}
        for layer in image.layers
    }
    marked = marks(target, plan.request)
    return image, {**record, "layers": weights, **({"marks": marked} if marked else {})}
