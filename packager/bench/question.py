"""The question that is asked over and over: from a file, from samples, or from what the model says
of itself (Open Inference Protocol v2, "Model Metadata")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from packager.bench.server import Server
from packager.domain.datatypes import NUMPY_CODES
from packager.errors import InputError

Tensor = npt.NDArray[Any]

_DTYPES = {**NUMPY_CODES, "BF16": "<u2"}  # as its bits
_FREE = 8
"""The size of a free dimension behind the first where no samples say it."""


@dataclass(frozen=True, slots=True)
class Question:
    """Several requests of `rows` rows each, asked in turn; `what` is one line for people."""

    requests: tuple[bytes, ...]
    rows: int
    what: str


def from_file(server: Server, path: str, file: Path, content_type: str) -> Question:
    """The bytes of `file`, sent to `path`. Raises InputError when they cannot be read."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise InputError("the body cannot be read", where=str(file), got=error.strerror) from error
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise InputError("not a path of a URL", where="--path", got=path[:200])
    request = server.request("POST", path, {"Content-Type": content_type}, body)
    return Question((request,), 1, f"{len(body)} bytes of {file.name} to {path}")


async def from_metadata(
    server: Server, model: str | None, samples: Path | None, rows: int, binary: bool
) -> Question:
    """Requests of `rows` rows for a model. Raises InputError when there is no such model, or its
    inputs cannot be made up."""
    name = model or await _only_model(server)
    path = f"/v2/models/{quote(name, safe='')}"
    document = await server.document(path)
    try:
        specs = [(one["name"], one["datatype"], list(one["shape"])) for one in document["inputs"]]
        batched = all(shape[:1] == [-1] for _, _, shape in specs)
    except (TypeError, KeyError) as error:
        raise InputError(
            "the server has no such model",
            where=f"{server.url}{path}",
            expected="a model of the Open Inference Protocol v2",
            next_step="name it with --model, or give --path and --body for another protocol",
        ) from error
    if rows > 1 and not batched:
        raise InputError("the model takes one row at a time", where="--rows", got=str(rows))
    given = _samples(samples, [name for name, _, _ in specs]) if samples else None
    requests = []
    for tensors in _drawn(given, specs, rows, batched):
        headers, body = _encoded(specs, tensors, binary)
        requests.append(server.request("POST", f"{path}/infer", headers, body))
    form = "binary" if binary else "JSON"
    source = samples.name if samples else "made-up numbers"
    size = len(requests[0])
    return Question(
        tuple(requests), rows, f"{name}: {rows} row(s) of {source}, {form}, {size} bytes a request"
    )


async def _only_model(server: Server) -> str:
    """The model of the server when it has one; else the user has to say which."""
    status, body = await server.ask(server.request("POST", "/v2/repository/index", None, b"{}"))
    try:
        names = sorted({entry["name"] for entry in json.loads(body)}) if status == 200 else []
    except (ValueError, TypeError, KeyError):
        names = []
    if len(names) != 1:
        raise InputError(
            "which model?",
            where="--model",
            expected=", ".join(names) or "the name of a model that the server has",
            got="the server does not tell its models" if not names else None,
        )
    return str(names[0])


def _samples(file: Path, names: list[str]) -> dict[str, Tensor]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise InputError(
            "the samples cannot be read", where=str(file), expected="an .npz", got=str(error)
        ) from error
    # A golden file of ours names inputs `input.NAME`.
    inputs = {name: found.get(name, found.get(f"input.{name}")) for name in names}
    missing = [name for name, array in inputs.items() if array is None or not len(array)]
    if missing:
        raise InputError(
            "the samples lack an input",
            where=str(file),
            expected=", ".join(names),
            got=f"without {', '.join(missing)}",
        )
    return {name: array for name, array in inputs.items() if array is not None}


def _drawn(
    given: dict[str, Tensor] | None, specs: list[Any], rows: int, batched: bool
) -> list[dict[str, Tensor]]:
    """Up to 64 different sets of inputs."""
    if given is None:
        made = {name: _made_up(name, kind, shape, rows) for name, kind, shape in specs}
        return [made]
    count = min(len(array) for array in given.values())
    if not batched:
        # Samples are stacked along a first dimension that the model does not have.
        return [{name: array[turn] for name, array in given.items()} for turn in range(count)][:64]
    turns = range(min(64, count))
    return [
        {
            name: np.take(array, [(turn * rows + row) % count for row in range(rows)], axis=0)
            for name, array in given.items()
        }
        for turn in turns
    ]


def _made_up(name: str, datatype: str, shape: list[int], rows: int) -> Tensor:
    """Small numbers that every model should take: 0 and 1 for whole ones, for they may be ids."""
    sizes = [size if size >= 0 else rows if axis == 0 else _FREE for axis, size in enumerate(shape)]
    random = np.random.default_rng(7)
    if datatype == "BYTES":
        return np.full(sizes, "text", dtype=object)
    if datatype not in _DTYPES:
        raise InputError("no inputs of this type can be made up", where=name, got=datatype)
    dtype = np.dtype(_DTYPES[datatype])
    if datatype == "BF16":
        return np.full(sizes, 0x3F80, dtype)  # 1.0
    if dtype.kind == "f":
        return random.random(sizes).astype(dtype)
    return random.integers(0, 2, sizes).astype(dtype)


def _encoded(
    specs: list[Any], tensors: Mapping[str, Tensor], binary: bool
) -> tuple[dict[str, str], bytes]:
    inputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, datatype, _ in specs:
        tensor = tensors[name]
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(tensor.shape)}
        if binary or datatype in ("FP16", "BF16"):
            data = _raw(name, datatype, tensor)
            entry["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            entry["data"] = _flat(datatype, tensor)
        inputs.append(entry)
    parameters = {"binary_data_output": True} if binary else {}
    head = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    if not raw:
        return {"Content-Type": "application/json"}, head
    return {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }, b"".join([head, *raw])


def _raw(name: str, datatype: str, tensor: Tensor) -> bytes:
    if datatype == "BYTES":
        texts = [str(text).encode() for text in tensor.reshape(-1).tolist()]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    if datatype == "BF16" and tensor.dtype.itemsize != 2:
        raise InputError("samples of BF16 are the uint16 of their bits", where=name)
    return np.ascontiguousarray(tensor).astype(_DTYPES[datatype], copy=False).tobytes()


def _flat(datatype: str, tensor: Tensor) -> list[Any]:
    if datatype == "BYTES":
        return [str(text) for text in tensor.reshape(-1).tolist()]
    flat: list[Any] = tensor.astype(_DTYPES[datatype]).reshape(-1).tolist()
    return flat
