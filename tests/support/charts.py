"""Renders our charts with Go's own template engine and Sprig (Debian 13 has both, and no Helm)."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from peer_engines import EngineRoom, engine_room

_SOURCE = Path(__file__).parents[1] / "peers" / "gotemplate.go"
_KEPT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "packager-tests"
_GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": "/var/tmp/go"}


@dataclass(frozen=True)
class ChartEngine:
    room: EngineRoom
    program: str

    def render(
        self,
        files: Mapping[str, bytes],
        changes: Mapping[str, Any] | None = None,
        namespace: str = "models",
    ) -> dict[str, str]:
        """The text of each template of a chart, with `changes` over its own values."""
        told = {
            "templates": {
                name: data.decode() for name, data in files.items() if name.startswith("templates/")
            },
            "values": merged(yaml.safe_load(files["values.yaml"]), changes or {}),
            "release": {"Name": "one", "Namespace": namespace, "Service": "Helm"},
            "chart": yaml.safe_load(files["Chart.yaml"]),
        }
        return json.loads(self.room.run(self.program, text=json.dumps(told)).stdout)

    def manifests(self, files: Mapping[str, bytes], **options: Any) -> list[dict[str, Any]]:
        """The objects that a chart installs."""
        return [
            document
            for name, text in self.render(files, **options).items()
            if name.endswith(".yaml")
            for document in yaml.safe_load_all(text)
            if document
        ]


def merged(values: Any, changes: Any) -> Any:
    """Helm's way: mappings are merged, everything else is replaced."""
    if not isinstance(values, dict) or not isinstance(changes, dict):
        return copy.deepcopy(changes)
    kept = {key: copy.deepcopy(value) for key, value in values.items()}
    return kept | {key: merged(values.get(key), value) for key, value in changes.items()}


@contextmanager
def chart_engine(folder: Path) -> Iterator[ChartEngine]:
    """The program, built in a room of the peers once for each state of its source."""
    source = _SOURCE.read_bytes()
    kept = _KEPT / f"gotemplate-{hashlib.sha256(source).hexdigest()[:16]}"
    program = folder / "gotemplate"
    with engine_room("go", shared=folder) as room:
        if kept.is_file():
            shutil.copy2(kept, program)
        else:
            (folder / "gotemplate.go").write_bytes(source)
            build = ("go", "build", "-o", str(program), str(folder / "gotemplate.go"))
            room.run(*build, environment=_GO, timeout=300)
            _KEPT.mkdir(parents=True, exist_ok=True)
            shutil.copy2(program, kept)
        yield ChartEngine(room, str(program))
