"""The door for models: a path from the user becomes a `Model`, or an error that says why not.

A model is one `.onnx` file, or a folder that holds one `.onnx` file and its external data. Past
this door the model exists, is whole, is ONNX as `onnx.checker` understands it, keeps all its files
in its own folder, and has a signature that the Open Inference Protocol can carry. Whether ONNX
Runtime can run it is found out later, in a process of its own (`making`).
"""

from __future__ import annotations

from pathlib import Path

import onnx

from packager.domain.model import Model, ModelFile
from packager.errors import Finding, InputError
from packager.hashed import digest_once
from packager.optimize.anatomy import anatomy_of
from packager.optimize.external_data import external_files
from packager.optimize.foreign_words import first_line
from packager.optimize.magic import HEAD, begins_like_onnx, recognize
from packager.optimize.shapes import without_weights
from packager.optimize.signature import inferred_outputs, signature

# ONNX Runtime registers these in the domain of ONNX itself, for any opset; exporters of decoders
# write them there, and so do its own fusions. Operator → the opset from which on ONNX has it too.
_RUNTIMES_OWN = {"SimplifiedLayerNormalization": 1 << 16, "LayerNormalization": 17}

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that one protobuf message may have; larger models keep their weights beside the graph."""


def read_model(path: Path, *, made_here: bool = False) -> Model:
    """Read and check the model at `path`. Raises InputError for whatever is wrong with it.

    Of one that was `made_here` the graph is checked and not the bytes of its weights, which its
    making wrote and ONNX Runtime reads next.
    """
    file = graph_file(path)
    where = str(file)
    try:
        proto = load_graph(file)
        _check(proto, file)
        external, findings = external_files(proto, file.parent, where)
        _raise(findings)
        inputs, outputs, findings = signature(proto, where)
        _raise(findings)
        _check_whole(proto, file, bare=made_here)
        names = (file.name, *external)
        files = tuple(_model_file(file.parent, name) for name in names)
    except OSError as error:
        raise _unreadable(where, error) from error
    except MemoryError as error:
        raise _not_onnx(where, "a model too large for this machine's memory") from error
    anatomy = anatomy_of(proto)
    return Model(
        files, inputs, outputs, _opset(proto), anatomy.precision, frozenset(anatomy.operators)
    )


def load_graph(file: Path) -> onnx.ModelProto:
    """The graph in `file`, without external data. Raises InputError when it is not ONNX."""
    size = file.stat().st_size
    if size == 0:
        raise InputError(
            "the model file is empty",
            where=str(file),
            expected="an ONNX model",
            got="0 bytes",
            next_step="copy or export it again",
        )
    if size > PROTOBUF_LIMIT:
        raise InputError(
            "the model file is larger than an ONNX file can be",
            where=str(file),
            expected=f"at most {PROTOBUF_LIMIT} bytes",
            got=f"{size} bytes",
            next_step="save it again with onnx.save(..., save_as_external_data=True)",
        )
    data = file.read_bytes()
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own classes differ from release to release
        raise _not_onnx(str(file), _description(data[:HEAD]), data[:HEAD]) from error
    if not proto.HasField("graph"):
        raise _not_onnx(str(file), _description(data[:HEAD]), data[:HEAD])
    return proto


def graph_file(path: Path) -> Path:
    """The one `.onnx` file that `path` is or holds."""
    try:
        if path.is_dir():
            return _graph_in_folder(path)
        if path.is_file():
            return path
        exists = path.exists() or path.is_symlink()
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error
    if exists:
        raise InputError(
            "the model is not a regular file",
            where=str(path),
            expected="an .onnx file, or a folder that holds one",
            next_step="check the path; a link may lead nowhere",
        )
    raise InputError(
        "the model does not exist",
        where=str(path),
        expected="an .onnx file, or a folder that holds one",
        next_step="check the path; in release.yaml it is relative to that file",
    )


def _graph_in_folder(folder: Path) -> Path:
    found = sorted(child for child in folder.iterdir() if child.suffix.lower() == ".onnx")
    if len(found) == 1:
        return found[0]
    names = sorted(child.name for child in folder.iterdir())
    foreign = [name for name in names if name.endswith((".safetensors", ".bin", ".pt", ".gguf"))]
    raise InputError(
        "the folder holds several ONNX models" if found else "the folder holds no ONNX model",
        where=str(folder),
        expected="one .onnx file with its external data",
        got=", ".join(child.name for child in found)
        or ", ".join(foreign or names[:5])
        or "nothing",
        next_step=(
            "name the one that you mean"
            if found
            else "export the model to ONNX first, for instance with optimum"
            if foreign
            else "check the path"
        ),
    )


def _check(proto: onnx.ModelProto, file: Path) -> None:
    """What the checker would say in words of its own inner workings, said in ours."""
    if not any(entry.domain in ("", "ai.onnx") for entry in proto.opset_import):
        raise _not_onnx(str(file), "a model without an opset; the file may be cut short")
    if not proto.graph.node:
        raise _not_onnx(str(file), "a graph without any operator")


def _check_whole(proto: onnx.ModelProto, file: Path, *, bare: bool) -> None:
    opset = _opset(proto)
    own = sorted({node.op_type for node in proto.graph.node if _is_runtimes_own(node, opset)})
    whole: onnx.ModelProto | str = str(file)  # there the checker finds the weights beside the graph
    if bare or own or _undeclared(proto):
        whole = without_weights(proto) if bare else proto
        whole = _without(own, whole) if own or _undeclared(proto) else whole
    try:
        onnx.checker.check_model(whole)
    except Exception as error:  # the checker raises more classes than it documents
        raise _not_onnx(str(file), first_line(str(error))) from error


def _undeclared(proto: onnx.ModelProto) -> bool:
    """Whether some output lacks its shape, which ONNX demands and ONNX Runtime does not."""
    return not all(one.type.tensor_type.HasField("shape") for one in proto.graph.output)


def _is_runtimes_own(node: onnx.NodeProto, opset: int) -> bool:
    return node.domain in ("", "ai.onnx") and opset < _RUNTIMES_OWN.get(node.op_type, 0)


def _without(own: list[str], proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph for the checker, with ONNX Runtime's own operators in a domain that it leaves
    alone, and outputs as they are inferred where the model does not say. Weights beside the graph
    become inputs: it would look for their files elsewhere."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        if node.op_type in own:
            node.domain = "com.microsoft"
    outputs = inferred_outputs(proto)
    del copy.graph.output[:]
    copy.graph.output.extend(outputs)
    external = [t for t in copy.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    listed = {value.name for value in copy.graph.input}
    for tensor in external:
        if tensor.name not in listed:
            copy.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        copy.graph.initializer.remove(tensor)
    if all(entry.domain != "com.microsoft" for entry in copy.opset_import):
        copy.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return copy


def _model_file(folder: Path, name: str) -> ModelFile:
    path = folder / name
    return ModelFile(name, path, digest_once(path), path.stat().st_size)


def _opset(proto: onnx.ModelProto) -> int:
    return max(
        int(entry.version) for entry in proto.opset_import if entry.domain in ("", "ai.onnx")
    )


def _description(head: bytes) -> str:
    if known := recognize(head):
        return known.what
    return "an ONNX file that is cut short or damaged" if begins_like_onnx(head) else "other data"


def _not_onnx(where: str, got: str, head: bytes = b"") -> InputError:
    known = recognize(head)
    return InputError(
        "the model is not a whole ONNX model",
        where=where,
        expected="an ONNX model (https://onnx.ai)",
        got=got,
        next_step=known.next_step if known else "copy or export it again",
    )


def _unreadable(where: str, error: Exception) -> InputError:
    return InputError(
        "the model cannot be read",
        where=where,
        expected="a file that this user may read",
        got=first_line(str(error)),
        next_step="check the path and its permissions",
    )


def _raise(findings: tuple[Finding, ...]) -> None:
    if findings:
        raise InputError.of(findings)
