"""A client of the Open Inference Protocol v2 over HTTP, with the binary tensor extension.

Tensors travel as raw bytes behind a JSON header whose length is told in
`Inference-Header-Content-Length` (Triton's "Binary Tensor Data Extension"). The client talks to one
server of ours on this machine: no proxies, no redirects, no names to resolve.
"""

from __future__ import annotations

import http.client
import json
import math
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import numpy.typing as npt

from packager.domain.datatypes import NUMPY_CODES
from packager.errors import InputError, PackagerError, UnavailableError

Tensor = npt.NDArray[Any]

_HEADER_LENGTH = "Inference-Header-Content-Length"
_MAX_ANSWER = 1 << 30
_DATATYPES = {np.dtype(code).newbyteorder("="): name for name, code in NUMPY_CODES.items()}


def wait_ready(url: str, timeout_s: float, alive: Callable[[], bool]) -> None:
    """Wait until the server says that it is ready to infer.

    Raises PackagerError as soon as `alive` says that the server ended, UnavailableError when
    `timeout_s` seconds have passed.
    """
    deadline = time.monotonic() + timeout_s
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            status, _, body = _ask(url, "GET", "/v2/health/ready", timeout_s=5)
            if status == http.client.OK:
                return
            last = f"HTTP {status} {body[:200].decode(errors='replace')}".strip()
        except (OSError, http.client.HTTPException) as error:
            last = str(error) or type(error).__name__
        if not alive():
            raise PackagerError(
                "the server ended before it was ready",
                where=url,
                got=last,
                next_step="its last lines say why",
            )
        time.sleep(0.05)
    raise UnavailableError(
        "the server did not become ready",
        where=url,
        expected=f"within {timeout_s:g} s",
        got=last,
        next_step="give it more time, or see its log",
    )


def metadata(url: str, model: str) -> dict[str, Any]:
    """The model's name, versions, inputs and outputs as the server tells them."""
    status, _, body = _request(url, "GET", f"/v2/models/{quote(model, safe='')}")
    return _json_object(url, _checked(url, status, body))


def infer(url: str, model: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One inference: input name → tensor in, output name → tensor out.

    Raises InputError when the server refuses the request, UnavailableError when it is busy or does
    not answer, PackagerError when its answer is not of the protocol.
    """
    header, tensors = _encode(inputs)
    status, length, body = _request(
        url,
        "POST",
        f"/v2/models/{quote(model, safe='')}/infer",
        body=b"".join((header, *tensors)),
        headers={"Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(header))},
    )
    return _decode(url, _checked(url, status, body), length)


def _encode(inputs: Mapping[str, Tensor]) -> tuple[bytes, list[bytes]]:
    described, tensors = [], []
    for name, tensor in inputs.items():
        datatype = (
            "BYTES"
            if tensor.dtype.kind in "SUO"
            else _DATATYPES.get(tensor.dtype.newbyteorder("="))
        )
        if datatype is None:
            raise InputError(
                "the protocol has no such number format",
                where=f"input {name}",
                expected=", ".join((*NUMPY_CODES, "BYTES")),
                got=str(tensor.dtype),
            )
        data = _bytes_elements(tensor) if datatype == "BYTES" else _raw(tensor, datatype)
        described.append(
            {
                "name": name,
                "datatype": datatype,
                "shape": list(tensor.shape),
                "parameters": {"binary_data_size": len(data)},
            }
        )
        tensors.append(data)
    request = {"inputs": described, "parameters": {"binary_data_output": True}}
    return json.dumps(request).encode(), tensors


def _raw(tensor: Tensor, datatype: str) -> bytes:
    return np.ascontiguousarray(tensor, dtype=NUMPY_CODES[datatype]).tobytes()


def _bytes_elements(tensor: Tensor) -> bytes:
    """Each element as four bytes of length, little-endian, and its bytes; text as UTF-8."""
    elements = (
        element if isinstance(element, bytes) else str(element).encode()
        for element in tensor.reshape(-1).tolist()
    )
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _decode(url: str, body: bytes, header_length: int | None) -> dict[str, Tensor]:
    head = body if header_length is None else body[:header_length]
    position = len(head)
    found: dict[str, Tensor] = {}
    try:
        for output in _json_object(url, head)["outputs"]:
            shape, datatype = tuple(output["shape"]), output["datatype"]
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                found[output["name"]] = _from_json(output["data"], datatype, shape)
                continue
            data = body[position : position + size]
            position += size
            found[output["name"]] = _from_raw(data, datatype, shape)
        if position != len(body):
            raise ValueError(f"{len(body) - position} bytes too many")
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise _not_the_protocol(url, str(error)) from error
    return found


def _from_json(data: list[Any], datatype: str, shape: tuple[int, ...]) -> Tensor:
    dtype = object if datatype == "BYTES" else np.dtype(NUMPY_CODES[datatype])
    return np.array(data, dtype=dtype).reshape(shape)


def _from_raw(data: bytes, datatype: str, shape: tuple[int, ...]) -> Tensor:
    if datatype != "BYTES":
        return np.frombuffer(data, dtype=NUMPY_CODES[datatype]).reshape(shape)
    elements, position = [], 0
    for _ in range(math.prod(shape)):
        (length,) = struct.unpack_from("<I", data, position)
        elements.append(data[position + 4 : position + 4 + length])
        position += 4 + length
    if position != len(data):
        raise ValueError("a BYTES tensor does not fill its bytes")
    tensor = np.empty(len(elements), dtype=object)
    tensor[:] = elements
    return tensor.reshape(shape)


def _checked(url: str, status: int, body: bytes) -> bytes:
    if status == http.client.OK:
        return body
    told = body[:400].decode(errors="replace")
    if status in (http.client.SERVICE_UNAVAILABLE, http.client.TOO_MANY_REQUESTS):
        raise UnavailableError(
            "the server is busy", where=url, got=f"HTTP {status} {told}", next_step="try again"
        )
    kind = InputError if 400 <= status < 500 else PackagerError
    raise kind("the server refused the request", where=url, got=f"HTTP {status} {told}")


def _request(
    url: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, int | None, bytes]:
    try:
        return _ask(url, method, path, body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(
            "the server did not answer",
            where=url,
            got=str(error) or type(error).__name__,
            next_step="see whether it still runs, and its log",
        ) from error


def _ask(
    url: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60,
) -> tuple[int, int | None, bytes]:
    """Status, length of the JSON header where the answer has one, and the whole body."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise InputError("not the address of a server", where=url, expected="http://HOST:PORT")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        content = answer.read(_MAX_ANSWER + 1)
        if len(content) > _MAX_ANSWER:
            raise _not_the_protocol(url, f"an answer of more than {_MAX_ANSWER} bytes")
        told = answer.getheader(_HEADER_LENGTH)
        if told is not None and not told.isdecimal():
            raise _not_the_protocol(url, f"{_HEADER_LENGTH}: {told[:40]}")
        return answer.status, int(told) if told else None, content
    finally:
        connection.close()


def _json_object(url: str, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _not_the_protocol(url, str(error)) from error
    if not isinstance(value, dict):
        raise _not_the_protocol(url, f"{value!r:.80}")
    return value


def _not_the_protocol(url: str, got: str) -> PackagerError:
    return PackagerError(
        "the server's answer is not of the Open Inference Protocol", where=url, got=got[:200]
    )
