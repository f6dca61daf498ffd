"""The runtime is an island: alone in a folder it starts, and ONNX Runtime has one silent door."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runtime_process import REPOSITORY, RuntimeProcess, clean_environment
from tiny_models import RuntimeFolder

SOURCE = REPOSITORY / "packager" / "runtime"
ALLOWED = set(sys.stdlib_module_names) | {"numpy", "onnxruntime", "httptools", "orjson"}
# What only the images carry whose release asks for it: recipe.FEATURE_WHEELS.
FEATURES = {
    "generative": {"jinja2", "llguidance", "onnxruntime_genai", "tokenizers"},
    "grpc_service": {"google"},
    "http2": {"hpack"},
    "images": {"PIL"},
    "texts": {"tokenizers"},
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level names of a file's absolute imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.name)
def test_imports_nothing_of_ours_and_no_more_than_four_libraries(path: Path) -> None:
    asked_for = FEATURES.get(path.parent.name, FEATURES.get(path.stem, set()))
    assert imported(path) <= ALLOWED | asked_for


def test_onnxruntime_is_imported_in_one_place_after_the_switch() -> None:
    assert [path.name for path in modules() if "onnxruntime" in imported(path)] == ["silence.py"]
    statements = ast.parse((SOURCE / "silence.py").read_text()).body
    lines = [ast.unparse(statement) for statement in statements]
    switch = lines.index("os.environ['ORT_DISABLE_TELEMETRY'] = '1'")
    (door,) = [at for at, line in enumerate(lines) if "import onnxruntime" in line]
    assert switch < door


def test_the_switch_overrides_the_environment(tmp_path: Path) -> None:
    code = "import os; import packager.runtime.silence; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = clean_environment(REPOSITORY, tmp_path) | {"ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def test_it_starts_alone_in_a_folder(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(
        SOURCE, alone / "packager_runtime", ignore=shutil.ignore_patterns("__pycache__")
    )
    environment = clean_environment(alone, tmp_path)
    # An editable install puts the checkout on the path; -S and a path of libraries keep it out.
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for path in (Path(directory) for directory in sys.path if "site-packages" in directory):
        for entry in path.iterdir():
            if not entry.name.startswith(("packager", "_packager", "__editable__", "_editable")):
                target = libraries / entry.name
                if not target.exists() and entry.suffix != ".pth":
                    target.symlink_to(entry)
    environment["PYTHONPATH"] = f"{alone}:{libraries}"
    probe = [sys.executable, "-S", "-c", "import packager"]
    blind = subprocess.run(
        probe, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "No module named 'packager'" in blind.stderr
    folder = RuntimeFolder(tmp_path / "image")
    folder.add_classifier()
    command = [sys.executable, "-S", "-m", "packager_runtime", "--config", str(folder.write())]
    with RuntimeProcess(
        folder.write(), command=[*command, "--port", "0"], environment=environment, cwd=tmp_path
    ) as server:
        client = server.wait_ready().client()
        assert client.get("/v2/models/classifier/ready")[0] == 200
        client.close()
        assert server.stop() == 0
        assert server.stderr() == ""
