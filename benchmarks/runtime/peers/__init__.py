"""Other servers, each in a virtual environment of its own below `$BENCH_VENVS` (default `/tmp`).

`python3 -m venv /tmp/venv-NAME && /tmp/venv-NAME/bin/pip install …` makes one; what is not there is
told and left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VENVS = Path(os.environ.get("BENCH_VENVS", "/tmp"))


def _inherited() -> Mapping[str, str]:
    return os.environ


@dataclass(frozen=True)
class Peer:
    """A server: how it is started, where it infers, and what it takes (`json`, `binary`)."""

    name: str
    path: str
    kinds: tuple[str, ...]
    command: Callable[[Any, Path, int, Path], list[str]]
    how: str
    ready: str = "/v2/health/ready"
    python: Path | None = None
    environment: Callable[[], Mapping[str, str]] = _inherited

    def available(self) -> bool:
        return self.python is None or self.python.exists()


def _venv(name: str, script: str) -> tuple[Path, Callable[[Any, Path, int, Path], list[str]]]:
    python = VENVS / f"venv-{name}" / "bin" / "python"

    def command(model: Any, graph: Path, port: int, folder: Path) -> list[str]:
        return [str(python), str(HERE / script), str(graph), str(port)]

    return python, command


def _peer(name: str, script: str, how: str, **options: Any) -> Peer:
    python, command = _venv(name, script)
    return Peer(name=name, command=command, python=python, how=how, **options)


PEERS = {
    peer.name: peer
    for peer in (
        _peer(
            "starlette",
            "starlette_inline.py",
            "pip install starlette uvicorn httptools onnxruntime",
            path="/infer",
            kinds=("json",),
        ),
        _peer(
            "mlserver",
            "mlserver_start.py",
            "pip install mlserver onnxruntime",
            path="/v2/models/m/infer",
            kinds=("json",),
        ),
        _peer(
            "litserve",
            "litserve_start.py",
            "pip install litserve onnxruntime",
            path="/predict",
            ready="/health",
            kinds=("flat",),
        ),
        _peer(
            "bentoml",
            "bentoml_start.py",
            "pip install bentoml onnxruntime",
            path="/infer",
            ready="/readyz",
            kinds=("rows",),
        ),
        _peer(
            "kserve",
            "kserve_start.py",
            "pip install kserve onnxruntime",
            path="/v2/models/m/infer",
            kinds=("json",),
        ),
        _peer(
            "pytriton",
            "pytriton_start.py",
            'pip install nvidia-pytriton onnxruntime "numpy<2", by a system\'s Python 3.11',
            path="/v2/models/m/infer",
            ready="/v2/models/m/ready",
            kinds=("binary", "json"),
        ),
    )
}
