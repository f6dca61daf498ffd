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
from packager.domain.release import BuiltTarget, Plan, PlannedTarget, ReleaseRequest
from packager.domain.target import TargetName
from packager.errors import LockError
from packager.oci.encryption import CIPHER, MODEL, encrypt_image, read_recipient
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
    models: Mapping[str, Sequence[OptimizedModel]],
    lock: Lock,
    decisions: Mapping[TargetName, tuple[Decision, ...]],
    release: Path,
    sources: Sources,
    progress: Progress,
) -> Assembled:
    """Examine what the lock names, write each layer once, and tie the layers to images.

    `models` are those of each hardware profile, in the order of the request. What was found, chosen
    and cut stands in `evidence/images/<target>.json`.
    """
    store = LayerStore(cache_folder() / "layers", plan.epoch)
    layout = LayoutWriter(release / "images", store.blobs)
    sources = replace(sources, compression=compression_for(plan, sources.compression))
    built = []
    for target in plan.targets:
        progress.step(f"assemble {target.name}")
        placed = tuple(
            accompanied(model, asked.serving)
            for asked, model in zip(plan.request.models, models[target.hardware.id], strict=True)
        )
        base = base_of(target, plan.request, lock, progress)
        image, record = _image(plan, target, placed, lock, base, store, sources, progress)
        write_atomically(
            release / "evidence" / "images" / f"{target.name.slug}.json", dumps_readable(record)
        )
        layout.add_image(image)
        first, *beside = placed
        made = decisions[target.name]
        built.append(BuiltTarget(target, first, image, made, base, tuple(beside)))
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
    target: PlannedTarget, models: Sequence[OptimizedModel], lock: Lock
) -> LockedEnvironment:
    """What of the lock goes into a target's image: GPU libraries only as the models need them."""
    return shipped(environment_of(target, lock), _operators(models))


def _operators(models: Sequence[OptimizedModel]) -> frozenset[str]:
    """Those of all models; none when those of one are not known, which stands for any."""
    found = [one.model.operators for one in models]
    return frozenset().union(*found) if all(found) else frozenset()


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
    models: Sequence[OptimizedModel],
    lock: Lock,
    base: Base | None,
    store: LayerStore,
    sources: Sources,
    progress: Progress,
) -> tuple[Image, Mapping[str, Any]]:
    place = target.name.jurisdiction
    environment = shipped_environment(target, models, lock)
    fetched = Fetched(
        environment,
        cache_folder(),
        mirror_option=sources.mirror,
        wheels=sources.wheels,
        progress=progress,
    )
    inputs = Inputs(fetched)
    device = Device.of(target.hardware, environment, _operators(models), slimmed=sources.slim)
    examined = examine(environment, inputs, device, cache_folder())
    config = server_config(target, plan.request, models)
    names = [one.model_name for one in plan.request.models]
    compression = sources.compression or Compression.GZIP
    cleared = clearing_layer(base.contents, compression) if base else None
    contents = (
        *([cleared] if cleared else []),
        *layers(
            environment,
            inputs,
            [*zip(names, models, strict=True)],
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
    marked = marks(target, plan.request)
    weights = _weights(image, plan.request)
    return image, {**record, "layers": weights, **({"marks": marked} if marked else {})}


def _weights(image: Image, request: ReleaseRequest) -> dict[str, dict[str, object]]:
    """What each layer weighs, by its kind; models beside the first one by name and version."""
    names = (one.model_name for one in request.models)
    weights: dict[str, dict[str, object]] = {}
    for layer in image.layers:
        name = next(names) if layer.kind == MODEL else None
        kind = f"{MODEL} {name.folder}" if name and MODEL in weights else layer.kind
        weights[kind] = {"digest": str(layer.descriptor.digest), "size": layer.descriptor.size}
    return weights
