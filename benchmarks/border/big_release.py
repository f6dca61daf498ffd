"""A release that is mostly weights, of any size, made by the product's own parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from small_release import SmallRelease, build_targets, make_release
from tiny_images import SETTINGS, content

from packager.archive import Entry
from packager.canonical import SourceDateEpoch
from packager.content import Compression, LayerContent
from packager.digest import Digest
from packager.oci.image import write_image
from packager.oci.layer import LayerStore


def big_release(folder: Path, weights: Path, version: str, key: Path | None = None) -> SmallRelease:
    """Two targets that share one layer with the file `weights`, stored plain."""
    folder.mkdir(parents=True)
    return make_release(
        folder, version=version, key_file=key, build=partial(_targets, weights=weights)
    )


def _targets(store: LayerStore, version: str, registry: str | None, *, weights: Path):
    request, built = build_targets(store, version, registry)
    heavy = store.write(_model_layer(weights))
    return request, tuple(
        replace(target, image=_with_model(store, target.image, heavy)) for target in built
    )


def _model_layer(weights: Path) -> LayerContent:
    key = Digest.of(f"{weights} {weights.stat().st_mtime_ns}".encode())
    return LayerContent(
        "model",
        key,
        Compression.NONE,
        "packager: model",
        lambda: [Entry.of_file("opt/model.onnx", weights)],
    )


def _with_model(store: LayerStore, image, heavy):
    layers = [
        store.write(content("system", {"probe": b"#!/bin/sh\n"}, executable=["probe"])),
        heavy,
        store.write(content("configuration", {"opt/server.json": image.reference.encode()})),
    ]
    return write_image(
        layers, SETTINGS, image.platform, image.reference, SourceDateEpoch(), store.blobs
    )


def bytes_of(folders: Sequence[Path]) -> int:
    return sum(
        path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()
    )
