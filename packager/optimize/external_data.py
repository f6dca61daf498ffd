"""External data of an ONNX model: found, confined to the model's folder, and complete.

A tensor may keep its bytes in another file (onnx.proto, `TensorProto.external_data`: `location`,
`offset`, `length`). Those names come from whoever made the model, so they are treated as hostile:
a name that leaves the folder would carry any file of this machine into an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import onnx

from packager.errors import Finding


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph and its subgraphs: initializers and attributes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _tensors_of_nodes(graph.node)


def model_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, those in its functions included."""
    yield from tensors(proto.graph)
    for function in proto.functions:
        yield from _tensors_of_nodes(function.node)


def external_files(
    proto: onnx.ModelProto, folder: Path, where: str
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The names of the external files, relative to `folder`, sorted, and all that is wrong."""
    names: set[str] = set()
    findings: dict[str, Finding] = {}
    for tensor in model_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        finding = _name_finding(name, folder, where) or _extent_finding(
            tensor.name, folder / name, entries, where
        )
        if finding:
            findings.setdefault(finding.what, finding)
        else:
            names.add(name)
    return tuple(sorted(names)), tuple(findings.values())


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from tensors(attribute.g)
            for graph in attribute.graphs:
                yield from tensors(graph)


def _name_finding(name: str, folder: Path, where: str) -> Finding | None:
    path = PurePosixPath(name)
    plain = name and not path.is_absolute() and ".." not in path.parts
    if not plain or any(sign in name for sign in "\\\0"):
        return Finding(
            f"external data at {name!r} is not a plain relative path",
            where,
            "a file beside the model or below its folder",
            next_step="save the model again with all its data in one folder",
        )
    target = folder / name
    try:
        inside = target.resolve(strict=True).is_relative_to(folder.resolve())
        regular = target.is_file()
    except (OSError, RuntimeError):
        inside = regular = False
        if not target.is_symlink():
            return Finding(
                f"the external data file {name!r} is missing",
                where,
                "all files of the model together in one folder",
                next_step="copy it beside the model",
            )
    if not (inside and regular):
        return Finding(
            f"external data at {name!r} leads out of the model's folder or is no regular file",
            where,
            "a regular file beside the model or below its folder",
            next_step="replace the link by the file itself",
        )
    return None


def _extent_finding(tensor: str, file: Path, entries: dict[str, str], where: str) -> Finding | None:
    size = file.stat().st_size
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - offset)))
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0 or offset + length > size:
        return Finding(
            f"the external data of tensor {tensor!r} is cut short",
            f"{where}: {file.name}",
            f"{offset + length} bytes" if min(offset, length) >= 0 else "an offset and a length",
            f"{size} bytes",
            "copy the file again; it is truncated or belongs to another model",
        )
    return None
