"""ONNX Runtime's own model packages (`.ortpackage`), read: one variant becomes the source model.

The format is that of the `model_package` library which ONNX Runtime carries from 1.29 on, schema
1.x: `manifest.json` names components, a component its variants, and a variant's
`executor_info.ort` the graph, in its own folder or in a shared asset that is addressed by content.
A package is as hostile as any archive: only portable ones are read, every path stays inside, and a
shared asset must have the digest that it is named by. Nothing of ONNX Runtime is needed to read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from packager.digest import Digest
from packager.errors import InputError

SUFFIX, MANIFEST, COMPONENT = ".ortpackage", "manifest.json", "component.json"
SCHEMA, EXECUTOR, ASSETS = "1.0", "ort", "shared_assets"
CPU = "CPUExecutionProvider"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
JSON_AT_MOST = 8 << 20
_KNOWN = frozenset(
    (
        "schema_version",
        "package_name",
        "package_version",
        "description",
        "layout",
        "components",
        "shared_assets",
        "additional_metadata",
    )
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of running a component: its folder, its provider, and what ONNX Runtime is told."""

    component: str
    name: str
    folder: Path
    provider: str | None
    compatibility: str | None
    told: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.component}/{self.name}"


def package_of(path: Path) -> tuple[Path, str] | None:
    """The folder of a package and what stands after `#`; None when `path` is no package."""
    folder, _, wanted = str(path).partition("#")
    root = Path(folder)
    named = root.suffix == SUFFIX and root.is_dir()
    return (root, wanted) if named or (root / MANIFEST).is_file() else None


def packaged_graph(root: Path, wanted: str) -> Path:
    """The graph of the variant that `wanted` names as `component/variant` or `variant`; when it
    names none, of the only one there is, or of the only one for the CPU.

    Raises InputError for what is wrong with the package, or when several variants are meant.
    """
    every = variants(root)
    found = [one for one in every if wanted in ("", one.name, str(one))]
    on_cpu = [one for one in found if one.provider in (None, CPU)]
    chosen = found if len(found) == 1 else on_cpu
    if len(chosen) != 1:
        raise InputError(
            "the model package does not say which model is meant",
            where=str(root),
            expected="one variant",
            got=", ".join(map(str, every)),
            next_step=f"name it: {root.name}#{every[0]}",
        )
    return _graph(root, chosen[0])


def variants(root: Path) -> tuple[Variant, ...]:
    """Every variant of the package in `root`, in its own order."""
    manifest = _json(root, root / MANIFEST)
    if strange := sorted(set(manifest) - _KNOWN):
        raise _refusal(root / MANIFEST, f"unknown keys {', '.join(strange)}")
    if str(manifest.get("schema_version", "")).split(".")[0] != SCHEMA.split(".")[0]:
        raise _refusal(root / MANIFEST, f"schema_version {manifest.get('schema_version')!r}")
    if manifest.get("layout", "portable") != "portable":
        raise _refusal(root / MANIFEST, f"layout {manifest['layout']!r}, which leaves the package")
    found: list[Variant] = []
    for name, value in _mapping(manifest.get("components"), root / MANIFEST).items():
        folder, body = _component(root, value)
        for own, variant in _mapping(body.get("variants"), root / MANIFEST).items():
            found.append(_variant(root, folder, name, own, _mapping(variant, root / MANIFEST)))
    if not found:
        raise _refusal(root / MANIFEST, "no variant")
    return tuple(found)


def asset_digest(files: Mapping[str, Digest]) -> Digest:
    """The digest that a shared asset is addressed by: over `sha256sum` lines in order of paths."""
    lines = (f"{digest.hex}  {name}\n".encode() for name, digest in sorted(files.items()))
    return Digest.of_chunks(lines)


def _component(root: Path, value: Any) -> tuple[Path, Mapping[str, Any]]:
    """The folder of a component and its body, which stands in the manifest or in its own file."""
    if not isinstance(value, str):
        return root, _mapping(value, root / MANIFEST)
    place = _inside(root, root, value)
    file = place / COMPONENT if place.is_dir() else place
    return file.parent, _json(root, file)


def _variant(
    root: Path, folder: Path, component: str, name: str, body: Mapping[str, Any]
) -> Variant:
    own = _inside(root, folder, str(body.get("variant_directory", name)))
    told = _mapping(body.get("executor_info", {}), root / MANIFEST).get(EXECUTOR, {})
    if isinstance(told, str):
        told = _json(root, _inside(root, own, told))
    return Variant(
        component,
        name,
        own,
        body.get("ep"),
        body.get("compatibility_string"),
        _mapping(told, root / MANIFEST),
    )


def _graph(root: Path, variant: Variant) -> Path:
    if variant.compatibility:
        raise _refusal(
            root,
            f"{variant} is compiled for {variant.provider or 'one device'}",
            "name a variant that is not: what is compiled cannot be optimized",
        )
    file = variant.told.get("model_file")
    if not isinstance(file, str):
        raise _refusal(root, f"{variant} names no model_file for ONNX Runtime")
    graph = _resolved(root, variant.folder, file)
    weights = _mapping(variant.told.get("session_options", {}), root).get(WEIGHTS_FOLDER)
    if weights is not None and _resolved(root, variant.folder, str(weights)) != graph.parent:
        raise _refusal(
            root,
            f"{variant} keeps its weights in another folder than its graph",
            "export the model to one folder and name that",
        )
    return graph


def _resolved(root: Path, base: Path, reference: str) -> Path:
    """A path of the package, or `sha256:<hex>/path` within a shared asset."""
    if not reference.startswith("sha256:"):
        return _inside(root, base, reference)
    uri, _, rest = reference.partition("/")
    try:
        wanted = Digest.parse(uri)
    except ValueError as error:
        raise _refusal(root, f"the reference {reference[:80]!r}") from error
    manifest = _json(root, root / MANIFEST)
    place = _mapping(manifest.get("shared_assets", {}), root / MANIFEST).get(uri)
    folder = _inside(root, root, str(place or f"{ASSETS}/sha256-{wanted.hex}"))
    files = [file for file in folder.rglob("*") if not file.is_dir()]
    held = {
        file.relative_to(folder).as_posix(): Digest.of_file(_real(root, file)) for file in files
    }
    if asset_digest(held) != wanted:
        raise _refusal(folder, f"the content of {asset_digest(held)}", "copy the package again")
    return _inside(root, folder, rest) if rest else folder


def _inside(root: Path, base: Path, written: str) -> Path:
    """`base/written`, which exists and does not leave the package."""
    parts = PurePosixPath(written).parts
    if written.startswith("/") or ".." in parts or "\0" in written or not parts:
        raise _refusal(root, f"the path {written[:80]!r}")
    return _real(root, base / written)


def _real(root: Path, path: Path) -> Path:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _refusal(root, f"no {path.name!r} where it is named") from error
    if not real.is_relative_to(root.resolve()):
        raise _refusal(root, f"{path.name!r}, which leads out of the package")
    return real


def _json(root: Path, file: Path) -> Mapping[str, Any]:
    try:
        with _real(root, file).open("rb") as stream:
            data = stream.read(JSON_AT_MOST + 1)
        if len(data) > JSON_AT_MOST:
            raise ValueError(f"more than {JSON_AT_MOST} bytes")
        return _mapping(json.loads(data), file)
    except (OSError, ValueError, RecursionError) as error:
        raise _refusal(file, f"no JSON: {error}") from error


def _mapping(value: Any, where: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _refusal(where, f"{type(value).__name__} where an object belongs")
    return value


def _refusal(where: Path, got: str, next_step: str = "make the package again") -> InputError:
    return InputError(
        "the model package cannot be read",
        where=str(where),
        expected="a portable model package of ONNX Runtime, schema 1.x",
        got=got[:240],
        next_step=next_step,
    )
