"""Fetches the model out of the installed `magika` package, and makes samples from real files.

Writes `model.onnx` (3.2 MB, Apache-2.0) and `samples.npz` beside this script. The samples are the
inputs that Magika itself would give its model for files that every Python installation carries and
for small generated ones; Magika does the feature extraction, with its inference replaced by a
recorder. No file's content but theirs is used, since golden samples travel in the image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # Magika imports ONNX Runtime

import magika
import numpy as np
from generated import generated_files

HERE = Path(__file__).resolve().parent
FILES_AT_MOST = 1500
PER_SUFFIX = 100

# Files whose content depends on where and when something was installed, or that are not read as
# they are: two checkouts on one machine give the same samples.
EXCLUDED_PARTS = {"__pycache__", "bin", "Scripts", "tests", "test"}
EXCLUDED_NAMES = {"RECORD", "direct_url.json", "INSTALLER", "REQUESTED", "uv_cache.json"}
EXCLUDED_SUFFIXES = {".pth", ".pyc", ".egg-link"}


class Recorder:
    """Stands where Magika's ONNX session stands, and keeps what it is fed."""

    def __init__(self, labels: int) -> None:
        self.rows: list[list[int]] = []
        self._labels = labels

    def run(self, _outputs: list[str], inputs: dict[str, Any]) -> list[np.ndarray]:
        self.rows.extend(inputs["bytes"])
        return [np.zeros((len(inputs["bytes"]), self._labels), dtype=np.float32)]


class RecordingMagika(magika.Magika):
    """Magika with a recorder in place of its model."""

    def _init_onnx_session(self) -> Recorder:
        return Recorder(len(self._target_labels_space))

    @property
    def rows(self) -> list[list[int]]:
        return self._onnx_session.rows

    @property
    def model_file(self) -> Path:
        return self._model_path


def main() -> int:
    recording = RecordingMagika()
    for content in contents():
        recording.identify_bytes(content)
    rows = np.unique(np.asarray(recording.rows, dtype=np.int32), axis=0)
    shutil.copyfile(recording.model_file, HERE / "model.onnx")
    np.savez_compressed(HERE / "samples.npz", bytes=rows)
    print(f"{HERE / 'model.onnx'}: from magika {magika.__version__}")
    print(f"{HERE / 'samples.npz'}: {len(rows)} samples")
    return 0


def contents() -> Iterator[bytes]:
    """What to make samples of: generated files, then installed ones, each kind a share."""
    for _, content in generated_files():
        yield content
    for path in installed_files():
        yield path.read_bytes()


def installed_files() -> list[Path]:
    """At most `PER_SUFFIX` files of a kind, spread over all packages, the same at each call."""
    chosen = []
    taken: Counter[str] = Counter()
    for _, path in sorted(_candidates()):
        if taken[path.suffix] < PER_SUFFIX:
            taken[path.suffix] += 1
            chosen.append(path)
    return chosen[:FILES_AT_MOST]


def _candidates() -> Iterator[tuple[str, Path]]:
    """(sort key, file). The key is a hash of the relative path, so that no folder comes first."""
    roots = [sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), "/usr/share"]
    for root in map(Path, roots):
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - EXCLUDED_PARTS - {"site-packages", "dist-packages"})
            for name in names:
                path = Path(folder, name)
                if _usable(path):
                    relative = path.relative_to(root).as_posix()
                    yield hashlib.sha256(relative.encode(errors="replace")).hexdigest(), path


def _usable(path: Path) -> bool:
    if path.name in EXCLUDED_NAMES or path.suffix in EXCLUDED_SUFFIXES or path.is_symlink():
        return False
    try:
        return path.is_file() and 0 < path.stat().st_size < 8_000_000 and os.access(path, os.R_OK)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
