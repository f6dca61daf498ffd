"""Look at a release without starting anything: its targets, its layers, its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packager import pipeline
from packager.bundle.opening import open_source
from packager.bundle.reading import looks_like_bundle
from packager.digest import Digest
from packager.domain.trust import TrustFiles
from packager.errors import InputError
from packager.oci.layout_reading import read_layout
from packager.optimize.reading import read_model
from packager.progress import Progress
from packager.release_folder import ReleaseFolder


def inspect(folder: Path, trust: TrustFiles | None, progress: Progress) -> dict[str, Any]:
    """Targets with their images, layers with the targets that share them; sizes in bytes.

    Without a key nothing is verified, and the answer says so.
    """
    release = (
        pipeline.open_verified(folder, trust, progress)
        if trust
        else ReleaseFolder.read(open_source(folder))
    )
    layout = read_layout(release.images, check_layers=False)
    layers: dict[Digest, dict[str, Any]] = {}
    targets = []
    for target in release.targets:
        image = layout.image_of(target.digest)
        targets.append(
            {
                "name": str(target.name),
                "platform": str(target.platform),
                "image": target.pinned,
                "size": image.size,
                **({"chart": target.chart.pinned} if target.chart else {}),
            }
        )
        for layer in image.layers:
            row = layers.setdefault(
                layer.descriptor.digest,
                {
                    "kind": layer.kind,
                    "size": layer.descriptor.size,
                    "digest": str(layer.descriptor.digest),
                    "targets": [],
                },
            )
            row["targets"].append(str(target.name))
    return {
        "name": release.name,
        "version": release.version,
        "digest": str(release.digest),
        "data_class": release.data_class,
        "models": [model.folder for model in release.models],
        "verified": trust is not None,
        "targets": targets,
        "layers": list(layers.values()),
        "stored": sum(layer["size"] for layer in layers.values()),
        "unshared": sum(target["size"] for target in targets),
    }


def digest(path: Path) -> Digest:
    """The digest of `release.json` for a release or a bundle, of all its files for a model."""
    if looks_like_bundle(path):
        return ReleaseFolder.read(open_source(path)).digest
    if (path / "release.json").is_file():
        return Digest.of_file(path / "release.json")
    if not path.exists():
        raise InputError("there is nothing there", where=str(path))
    return read_model(path).digest
