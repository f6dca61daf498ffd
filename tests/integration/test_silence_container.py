"""The container reaches out to nobody: packets are counted on its bridge, from start to stop.

The image that is shipped holds no telemetry at all. The same is then shown for an image whose
ONNX Runtime does hold it (1.29 and later), where only our switch keeps it silent; and the control
takes the switch away and must see the attempt, so that this test is known to be able to fail.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from bridge_watch import BRIDGE, NAME_SERVER, Watch, container
from commands import command
from engines import docker_engine, missing

from packager.domain.target import TargetName
from packager.launch.client import infer, wait_ready
from packager.progress import SILENT

pytestmark = pytest.mark.engine

IDLE_SECONDS = 30.0
SILENCE = "/usr/local/lib/python3.13/dist-packages/packager_runtime/silence.py"
TELEMETRY_PROFILE = """\
apiVersion: packager/v1
kind: Hardware
id: newer
extends: x86-64-v3
name: An x86-64-v3 machine with a newer ONNX Runtime
wheel: {name: onnxruntime, version: 1.32.0}
confidence: medium
sources: ["a profile of this test: memory"]
"""


def live(image: str, samples: Path, *options: str) -> tuple[list[str], int]:
    """Start, load, 100 inferences, an idle time, stop; what was seen on the wire."""
    watch = Watch()
    rows = np.load(samples)["bytes"]
    with container(image, *options) as shown:
        network = shown["NetworkSettings"]["Networks"]["bridge"]
        url = f"http://{network['IPAddress']}:8080"
        wait_ready(url, 60, lambda: True)
        for number in range(100):
            infer(url, "filetype", {"bytes": rows[number : number + 1]})
        time.sleep(IDLE_SECONDS)
        subprocess.run(["docker", "stop", shown["Id"]], check=True, capture_output=True)
    return watch.sent_by(network["IPAddress"], network["MacAddress"])


@pytest.fixture(scope="module")
def shipped(release) -> str:
    """The image of the example, loaded into Docker."""
    return load(release.folder, release)


@pytest.fixture(scope="module")
def with_telemetry(release, tmp_path_factory) -> str:
    """The same model in an image whose ONNX Runtime holds telemetry."""
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "targets" / "hardware").mkdir(parents=True)
    (folder / "targets" / "hardware" / "newer.yaml").write_text(TELEMETRY_PROFILE)
    command(
        "build", release.source / "model.onnx", "-j", "de", "-w", "newer", "-p", "kubernetes",
        "--region", "aws/eu-central-1", "--license", "Apache-2.0", "--name", "filetype",
        "--registry", "registry.example.de/ml", "--targets", folder / "targets",
        "--lock", folder / "packager.lock", "--key", release.key, "-o", folder / "out",
    )  # fmt: skip
    return load(folder / "out", release, "de/newer/kubernetes")


def load(folder: Path, release, target: str = "de/x86-64-v3/kubernetes") -> str:
    from packager.domain.trust import TrustFiles
    from packager.running import load as load_target

    docker_engine().close()
    if os.geteuid() != 0 or not Path(f"/sys/class/net/{BRIDGE}").exists():
        missing(f"watching {BRIDGE} needs root and Docker's default bridge")
    loaded = load_target(folder, TrustFiles((release.public,)), TargetName.parse(target), SILENT)
    return next(iter(loaded.values()))


def test_the_shipped_image_is_silent(shipped, release):
    attempts, answers = live(shipped, release.source / "samples.npz")
    assert attempts == []
    assert answers > 100, "the watch saw the server answer"


def test_a_newer_onnxruntime_is_kept_silent_by_the_switch(with_telemetry, release):
    attempts, answers = live(with_telemetry, release.source / "samples.npz")
    assert attempts == []
    assert answers > 100


def test_without_the_switch_the_watch_sees_the_attempt(with_telemetry, release, tmp_path):
    source = Path(__file__).resolve().parents[2] / "packager" / "runtime" / "silence.py"
    switch = 'os.environ["ORT_DISABLE_TELEMETRY"] = "1"\n'
    text = source.read_text()
    assert text.count(switch) == 1
    (tmp_path / "silence.py").write_text(text.replace(switch, ""))
    (tmp_path / "silence.py").chmod(0o644)
    attempts, answers = live(
        with_telemetry,
        release.source / "samples.npz",
        "--env",
        "ORT_DISABLE_TELEMETRY=",
        "--volume",
        f"{tmp_path / 'silence.py'}:{SILENCE}:ro",
    )
    assert answers > 100
    assert any(f"udp to {NAME_SERVER} port 53" in attempt for attempt in attempts)
