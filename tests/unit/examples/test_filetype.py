"""The file-type example: the client's label is Magika's own for any file, through the protocol.

The server here is a few lines over the real model; the shipped server is tested with the main job.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from packager.optimize.engine import open_session

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "filetype"
magika = pytest.importorskip("magika", reason="the example needs magika")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    session = open_session(magika.Magika()._model_path, 1)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            (given,) = body["inputs"]
            assert (self.path, given["datatype"]) == ("/v2/models/filetype/infer", "INT32")
            rows = np.array(given["data"], dtype=np.int32).reshape(given["shape"])
            (scores,) = session.run(["target_label"], {"bytes": rows})
            output = {
                "name": "target_label",
                "datatype": "FP32",
                "shape": list(scores.shape),
                "data": scores.reshape(-1).tolist(),
            }
            answer = json.dumps({"model_name": "filetype", "outputs": [output]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Generated files of every kind, repository files, and the corner cases of size."""
    folder = tmp_path_factory.mktemp("files")
    generated = _module("generated")
    paths = [EXAMPLE / "release.yaml", EXAMPLE / "prepare.py", Path(sys.executable).resolve()]
    corners = {"empty": b"", "tiny": b"abc", "tiny-binary": b"\xff\xfe\x00", "blank": b" " * 5000}
    made = {name: data for name, data in generated.generated_files() if name.startswith(_FIRST)}
    for name, content in {**corners, **made}.items():
        (folder / name).write_bytes(content)
        paths.append(folder / name)
    library = Path(sysconfig.get_path("stdlib"))
    return [*paths, library / "json" / "decoder.py", EXAMPLE, folder / "missing"]


_FIRST = tuple(
    f"{kind}-0."
    for kind in (
        *("bmp", "bz2", "csv", "gif", "gz", "html", "ini", "json", "pdf", "png"),
        *("sh", "sql", "tar", "txt", "wav", "xml", "xz", "yaml", "zip"),
    )
)


def test_the_label_is_magikas_own_for_every_file(server: str, files: list[Path]) -> None:
    remote = _module("classify").RemoteMagika(server, "filetype")
    local = magika.Magika()
    assert len(files) >= 28
    labels = set()
    for path in files:
        ours, theirs = remote.identify_path(path), local.identify_path(path)
        assert ours.status == theirs.status, path
        if theirs.ok:
            assert str(ours.output.label) == str(theirs.output.label), path
            labels.add(str(theirs.output.label))
    assert len(labels) >= 15  # kinds that really differ, not one label for all


def test_the_command_prints_the_label_alone(server: str, files: list[Path]) -> None:
    done = _classify(str(files[0]), "--url", server)
    assert (done.returncode, done.stdout) == (0, "yaml\n")


def test_an_absent_server_and_an_absent_file_are_told_without_traceback(server: str) -> None:
    done = _classify(str(EXAMPLE / "release.yaml"), "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "packager run" in done.stderr
    assert "Traceback" not in done.stderr
    done = _classify("no-such-file", "--url", server)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_generated_files_are_the_same_at_each_run() -> None:
    generated = _module("generated")
    assert list(generated.generated_files()) == list(generated.generated_files())


def _classify(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE / "classify.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
