"""Asks a running server what kind of file something is, and prints the label that Magika would.

Magika reads the file, decides about empty and tiny ones, extracts the features and applies its
thresholds; only its inference is replaced by a request to the server (Open Inference Protocol v2,
REST). So the label is Magika's own, for every file, as long as the served model answers as the
original does.

    python examples/filetype/classify.py README.md --url http://127.0.0.1:8080
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # Magika imports ONNX Runtime

import magika
import numpy as np

TIMEOUT_S = 30


class ServerError(Exception):
    """The server did not answer, or not in the protocol."""


class RemoteSession:
    """Stands where Magika's ONNX session stands, and asks the server instead."""

    def __init__(self, url: str, model: str) -> None:
        self._address = f"{url.rstrip('/')}/v2/models/{model}/infer"
        # The server is the user's own: no proxy of the environment may see the request.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(self, outputs: list[str], inputs: dict[str, Any]) -> list[np.ndarray]:
        rows = inputs["bytes"]
        body = {
            "inputs": [
                {
                    "name": "bytes",
                    "datatype": "INT32",
                    "shape": [len(rows), len(rows[0])],
                    "data": [value for row in rows for value in row],
                }
            ],
            "outputs": [{"name": name} for name in outputs],
        }
        answered = {entry["name"]: entry for entry in self._post(body)["outputs"]}
        return [
            np.asarray(answered[name]["data"], dtype=np.float32).reshape(answered[name]["shape"])
            for name in outputs
        ]

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            self._address, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise ServerError(f"{self._address}: {error}: {error.read(500)!r}") from error
        except (OSError, ValueError) as error:
            raise ServerError(f"{self._address}: {error}") from error
        return answer


class RemoteMagika(magika.Magika):
    """Magika whose model runs on a server."""

    def __init__(self, url: str, model: str) -> None:
        self._server = (url, model)
        super().__init__()

    def _init_onnx_session(self) -> RemoteSession:
        return RemoteSession(*self._server)


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the file type that a served model sees.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    # `packager run … -- python classify.py FILE` sets both variables.
    url = os.environ.get("PACKAGER_URL", "http://127.0.0.1:8080")
    parser.add_argument("--url", default=url, help="where the server listens")
    model = os.environ.get("PACKAGER_MODEL", "filetype")
    parser.add_argument("--model", default=model, help="the name that it serves")
    options = parser.parse_args()
    remote = RemoteMagika(options.url, options.model)
    failed = False
    for file in options.files:
        try:
            result = remote.identify_path(file)
        except ServerError as error:
            print(f"classify: {error}", file=sys.stderr)
            print("Is the server running? Start it with: packager run", file=sys.stderr)
            return 1
        if not result.ok:
            print(f"classify: {file}: {result.status}", file=sys.stderr)
            failed = True
            continue
        label = str(result.output.label)
        print(label if len(options.files) == 1 else f"{file}: {label}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
