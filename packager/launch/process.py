"""The image's own runtime and model as a process of this machine, where no engine answers.

The same files run as in the container: they are taken out of the verified layers. What differs is
the Python and the ONNX Runtime underneath, which are this machine's, so this is for trying a
release out, and the caller says so. The process listens on loopback only and inherits no
environment but what a Python process needs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packager.domain.artifact import Layer
from packager.errors import InputError, UnavailableError, VerificationError
from packager.launch.extract import extract_layers

LAYER_KINDS = ("runtime", "model", "configuration")
_SITE = Path("usr/local/lib/python3.13/dist-packages")
_CONFIGURATION = Path("opt/packager/server.json")
_NEEDED = ("httptools", "orjson", "onnxruntime")
# What a part of server.json needs beside that: modules, and the packages that bring them.
_MORE = {
    "grpc": {"hpack": "hpack", "google.protobuf": "protobuf"},
    "tokenizer": {"tokenizers": "tokenizers"},
    "image": {"PIL": "pillow"},
    "generative": {"tokenizers": "tokenizers", "jinja2": "jinja2"},
}
# Where the machine's own libraries and devices are; never tokens, proxies or user settings.
_INHERITED = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT")


class LocalProcess:
    """A serving process that we started; a context manager that stops it. `grpc` is `host:port`
    where the image has that."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log: Path, grpc: str | None = None
    ) -> None:
        self.url = url
        self.grpc = grpc
        self.log = log
        self._process = process

    def __enter__(self) -> LocalProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def logs(self, lines: int = 200) -> str:
        """The last lines that it wrote, standard output and error together."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "".join(text.splitlines(keepends=True)[-lines:])

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        return self._process.wait()

    def stop(self, grace_s: float = 15) -> None:
        """Ask it to end; after `grace_s` seconds end it by force."""
        if not self.running():
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_process(layers: Sequence[Layer], into: Path, port: int | None = None) -> LocalProcess:
    """Extract a verified image's runtime, model and configuration into `into` and start them.

    `layers` are the image's, all of them; `into` is empty or new; `port` on 127.0.0.1, None for a
    free one. Returns at once: `client.wait_ready` waits. Raises InputError when this machine lacks
    a Python package, VerificationError when a layer is missing or not what its digest says,
    UnavailableError when the port is taken.
    """
    refuse_missing_packages()
    chosen_port = _free_port(port)
    extract_layers(_needed_layers(layers), into)
    _refuse_missing_features(into)
    log = into / "server.log"
    arguments = ["--host", "127.0.0.1", "--port", str(chosen_port)]
    grpc_port = _free_port(None) if _speaks_grpc(into) else None
    if grpc_port:
        arguments += ["--grpc-port", str(grpc_port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*_runtime(into), *arguments],
            cwd=into,
            env=_environment(os.environ, into),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to answer: the server is stopped in order
        )
    grpc = f"127.0.0.1:{grpc_port}" if grpc_port else None
    return LocalProcess(process, f"http://127.0.0.1:{chosen_port}", log, grpc)


def output_of(
    layers: Sequence[Layer], into: Path, arguments: Sequence[str], seconds: float = 600
) -> tuple[int, str, str]:
    """Run the runtime with further arguments to its end: exit status, stdout, stderr.

    As `start_process`, but for UnavailableError, which tells that it took longer than `seconds`.
    """
    refuse_missing_packages()
    extract_layers(_needed_layers(layers), into)
    _refuse_missing_features(into)
    try:
        done = subprocess.run(
            [*_runtime(into), *arguments],
            cwd=into,
            env=_environment(os.environ, into),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"the runtime did not end within {seconds:g} s", where=" ".join(arguments)
        ) from error
    return done.returncode, done.stdout, done.stderr


def refuse_missing_packages() -> None:
    """Raises InputError when the packages of the extra `local` are not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            "a local process needs Python packages that are not installed",
            where=sys.executable,
            expected=", ".join(_NEEDED),
            got=f"without {', '.join(missing)}",
            next_step="pip install '.[local]' in packager's source, or start a Docker engine",
        )


def _refuse_missing_features(into: Path) -> None:
    """Raises InputError when this machine lacks what the image has wheels for beyond tensors."""
    document = _document(into)
    asked = {key for key in ("grpc", "generative") if document.get(key)}
    for model in document.get("models", ()):
        asked.update(model.get("serving") or ())
    wanted = {
        module: package
        for feature in sorted(asked & set(_MORE))
        for module, package in _MORE[feature].items()
    }
    missing = sorted({package for module, package in wanted.items() if not _is_there(module)})
    if missing:
        raise InputError(
            "a local process of this release needs Python packages that are not installed",
            where=sys.executable,
            expected=", ".join(sorted(set(wanted.values()))),
            got=f"without {', '.join(missing)}",
            next_step=f"pip install {' '.join(missing)}, or start a Docker engine",
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _document(into: Path) -> dict[str, Any]:
    document = json.loads((into / _CONFIGURATION).read_bytes())
    return document if isinstance(document, dict) else {}


def _speaks_grpc(into: Path) -> bool:
    return "grpc" in _document(into)


def _runtime(into: Path) -> list[str]:
    configuration = str(into / _CONFIGURATION)
    return [sys.executable, "-P", "-m", "packager_runtime", "--config", configuration]


def _needed_layers(layers: Sequence[Layer]) -> list[Layer]:
    found = [layer for layer in layers if layer.kind in LAYER_KINDS]
    missing = set(LAYER_KINDS) - {layer.kind for layer in found}
    if missing:
        raise VerificationError(
            "the image lacks a layer that a local process is made of",
            expected=", ".join(LAYER_KINDS),
            got=f"without {', '.join(sorted(missing))}",
            next_step="build the release again with this version of packager",
        )
    return found


def _environment(ours: Mapping[str, str], into: Path) -> dict[str, str]:
    inherited = {name: ours[name] for name in _INHERITED if name in ours}
    return inherited | {
        "HOME": str(into),
        "PYTHONPATH": str(into / _SITE),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _free_port(asked: int | None) -> int:
    """The port asked for, or a free one. It is only taken when the server binds it."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", asked or 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise UnavailableError(
            "the port cannot be listened on",
            where=f"127.0.0.1:{asked}",
            got=error.strerror,
            next_step="choose another one with --port, or leave it out",
        ) from error
