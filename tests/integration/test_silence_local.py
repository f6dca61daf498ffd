"""The runtime as a local process reaches out to nobody; and the test that says so can fail.

Four processes run side by side under strace: on the installed ONNX Runtime, on one that has
telemetry built in, on that one with the silence switch removed, and on the installed one with every
optional feature on (gRPC, texts, images, versions, TLS both ways, keys, records, traces), asked for
what goes wrong as well. Each starts, loads, answers, idles
for 30 s and stops.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import egress
import pytest
from everything import add_everything, ask_everything
from runtime_process import REPOSITORY, RuntimeProcess, clean_environment
from tiny_models import RuntimeFolder

TELEMETRY_CAPABLE = "1.32.0"
SWITCH = 'os.environ["ORT_DISABLE_TELEMETRY"] = "1"\n'
INFERENCES = 100
IDLE_SECONDS, MOST_IDLE_SECONDS = 30.0, 150.0
REQUIRED = os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1"

ANSWERS = {
    **dict.fromkeys(("/", "/v2", "/metrics", "/openapi.json", "/v2/models/stats"), 200),
    "/v2/models/classifier/config": 200,
    "/v2/repository/index": 405,  # asked twice, the second time by PUT
    "/v2/models/classifier/infer": 200,
    "/v1/embeddings": 200,
    "/v2/models/bright/classify": 200,
    "/v2/models/classifier/versions/1/infer": 200,
    "/v2/models/classifier/versions/2/infer": 400,
    "/v2/models/classifier/versions/9/infer": 404,
    "/elsewhere": 404,
    "without a key": 401,
    "a body too large": 413,
    "without a certificate": True,
    "without TLS": True,
    "gRPC": "OK",
    "gRPC Watch": b"\x08\x01",
    "gRPC, no message": "INVALID_ARGUMENT",
    "gRPC without a key": "UNAUTHENTICATED",
}

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Observation:
    """What was seen of one process."""

    trace: str
    exit_code: int
    home: list[str]

    @property
    def attempts(self) -> list[str]:
        return [attempt.line for attempt in egress.attempts(self.trace)]


@pytest.fixture(scope="module")
def telemetry_capable(request: pytest.FixtureRequest) -> Path:
    """A folder with an ONNX Runtime that has telemetry built in."""
    folder = request.config.cache.mkdir(f"onnxruntime-{TELEMETRY_CAPABLE}")
    if (folder / "complete").exists():
        return folder
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"),
            *("--target", str(folder), f"onnxruntime=={TELEMETRY_CAPABLE}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        _unavailable(f"onnxruntime {TELEMETRY_CAPABLE} cannot be installed: {done.stderr[-300:]}")
    (folder / "complete").touch()
    return folder


@pytest.fixture(scope="module")
def observations(
    telemetry_capable: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Observation]:
    """The three runs, at the same time."""
    if why := egress.why_not_traceable():
        _unavailable(why)
    base = tmp_path_factory.mktemp("silence")
    cases = {
        "installed": (_runtime(base / "installed"), None),
        "capable": (_runtime(base / "capable"), telemetry_capable),
        "switch removed": (_runtime(base / "removed", without_switch=True), telemetry_capable),
        "everything": (_runtime(base / "everything"), None),
    }
    started = {
        name: _start(parent, ort, everything=name == "everything")
        for name, (parent, ort) in cases.items()
    }
    try:
        for name, (process, parent) in started.items():
            if name == "everything":
                process.wait_ready()
                answers = ask_everything(
                    parent / "image", process.port, process.log[-1]["grpc_port"]
                )
                assert answers == ANSWERS
            else:
                _infer(process)
        _wait(started["switch removed"][1] / "trace")
        return {name: _stop(*pair) for name, pair in started.items()}
    finally:
        for process, _ in started.values():
            process.__exit__(None, None, None)


@pytest.mark.network
@pytest.mark.parametrize("case", ["installed", "capable", "everything"])
def test_nothing_reaches_out(observations: dict[str, Observation], case: str) -> None:
    seen = observations[case]
    assert egress.listened(seen.trace)
    assert seen.attempts == []
    assert seen.home == []
    assert seen.exit_code == 0


@pytest.mark.network
def test_without_the_switch_the_same_test_fails(observations: dict[str, Observation]) -> None:
    seen = observations["switch removed"]
    assert egress.listened(seen.trace)
    assert any("AF_INET" in line for line in seen.attempts), seen.attempts
    assert ".cache/Microsoft" in seen.home


@pytest.mark.network
@pytest.mark.parametrize(("what", "code"), [("measured", 0), ("refused", 65)])
def test_what_never_serves_reaches_out_to_nobody(tmp_path: Path, what: str, code: int) -> None:
    """Timing the models without a port, and a start that ends at a changed model."""
    if why := egress.why_not_traceable():
        _unavailable(why)
    folder = RuntimeFolder(tmp_path / "image")
    folder.path.mkdir()
    digest = "sha256:" + "0" * 64
    folder.add_classifier()["origin"] = {"source": digest, "model": digest}
    config = folder.write()
    if what == "refused":
        (model,) = folder.path.rglob("*.onnx")
        model.write_bytes(model.read_bytes() + b" ")
    home = tmp_path / "home"
    home.mkdir()
    said = tmp_path / "said"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [
                *egress.strace(tmp_path / "trace"),
                *(sys.executable, "-m", "packager_runtime", "--config", str(config)),
                *(["--measure"] if what == "measured" else ["--host", "127.0.0.1", "--port", "0"]),
            ],
            env=clean_environment(_runtime(tmp_path / "alone"), home),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        assert process.wait(120) == code
    assert ("MeasurementRecord" if what == "measured" else "was declared") in said.read_text()
    trace = egress.finished(tmp_path / "trace", process.pid)
    assert [attempt.line for attempt in egress.attempts(trace)] == []
    assert [*home.rglob("*")] == []


def _runtime(parent: Path, *, without_switch: bool = False) -> Path:
    """The runtime alone, as an image carries it."""
    package = parent / "packager_runtime"
    source = REPOSITORY / "packager" / "runtime"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    if without_switch:
        silence = package / "silence.py"
        text = silence.read_text()
        assert text.count(SWITCH) == 1
        silence.write_text(text.replace(SWITCH, ""))
    return parent


def _start(
    parent: Path, onnxruntime: Path | None, *, everything: bool = False
) -> tuple[RuntimeProcess, Path]:
    folder = RuntimeFolder(parent / "image")
    folder.path.mkdir()
    switches = {}
    if everything:
        switches = add_everything(folder)
    else:
        folder.add_classifier()
    home = parent / "home"
    home.mkdir()
    paths = [str(path) for path in (parent, onnxruntime) if path]
    process = RuntimeProcess(
        folder.write(),
        package_parent=parent,
        environment={"PYTHONPATH": os.pathsep.join(paths)} | switches,
        wrapper=egress.strace(parent / "trace"),
        home=home,
    )
    return process, parent


def _infer(process: RuntimeProcess) -> None:
    process.wait_ready()
    client = process.client()
    document = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]
    }
    for _ in range(INFERENCES):
        status, answer = client.infer("classifier", document)
        assert status == 200, answer
    client.close()


def _wait(control: Path) -> None:
    """So long that the one whose switch is off has looked for its end point, and at least the idle
    time: on a machine with much to do it takes longer, and so it may for the others."""
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        seen = any("AF_INET" in each.line for each in egress.attempts(control.read_text()))
        if waited >= IDLE_SECONDS and (seen or waited >= MOST_IDLE_SECONDS):
            return
        time.sleep(0.5)


def _stop(process: RuntimeProcess, parent: Path) -> Observation:
    code = process.stop()
    home = parent / "home"
    return Observation(
        trace=egress.finished(parent / "trace", process.process.pid),
        exit_code=code,
        home=sorted(path.relative_to(home).as_posix() for path in home.rglob("*")),
    )


def _unavailable(why: str) -> None:
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)
