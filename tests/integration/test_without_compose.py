"""The scripts for Docker alone and containerd alone, run as they were rendered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from built_targets import HARDWARE, build_target, jurisdiction, release_request
from peer_engines import EngineRoom, containerd, docker_26, engine_room
from python_image import python_archive, python_entrypoint

from packager.domain.target import DeploymentPlatform, Region
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine

NAME = "filetype-sa-x86-64-v3"
REACHED = 0


def scripts(folder: Path, image: str | None = None) -> dict[str, Path]:
    """The rendered scripts in a folder, by name; `image` stands for the one by digest."""
    region = Region("site", "riyadh-lab")
    built = build_target(
        release_request(),
        jurisdiction("sa", "Saudi Arabia", (region,)),
        HARDWARE["x86-64-v3"],
        DeploymentPlatform.COMPOSE,
        regions=(region,),
        registry="registry.example.sa/ml",
    )
    written = {}
    for name, data in render_target(built, release_request()).items():
        if name.startswith("without-compose/"):
            path = folder / Path(name).name
            text = data.decode().replace(built.pinned_reference, image or built.pinned_reference)
            path.write_text(text)
            written[path.name] = path
    return written


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Iterator[tuple[EngineRoom, Path]]:
    folder = tmp_path_factory.mktemp("alone")
    with (
        engine_room("dockerd", "docker", "containerd", "ctr", shared=folder) as found,
        docker_26(found),
    ):
        entrypoint = f"ENTRYPOINT {json.dumps(python_entrypoint())}"
        archive = str(python_archive(folder))
        found.run("docker", "import", "--change", entrypoint, archive, image_name())
        found.run("docker", "save", "--output", str(folder / "image.tar"), image_name())
        yield found, folder


def image_name() -> str:
    return "registry.example.sa/ml/filetype:1.4.0-sa-x86-64-v3-compose"


def test_docker_alone_answers_this_host_and_lets_nothing_out(room):
    place, folder = room
    files = scripts(folder, image_name())
    url = place.run("sh", str(files["docker.sh"])).stdout.strip()
    try:
        for _ in range(50):
            told = ask(place, f"{url}/v2/health/ready")
            if told is not None:
                break
        assert told is True
        assert ask(place, f"{url}/environment")["PACKAGER_REGION"] == "site/riyadh-lab"
        assert ask(place, f"{url}/reach/203.0.113.1/80") != REACHED
        host = json.loads(place.run("docker", "inspect", NAME).stdout)[0]["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["ReadonlyRootfs"] is True
        assert host["Memory"] == host["MemorySwap"] > 0
    finally:
        place.run("docker", "rm", "--force", NAME, check=False)
        place.run("docker", "network", "rm", NAME, check=False)


def ask(place: EngineRoom, url: str):
    program = (
        "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=9).read().decode())"
    )
    done = place.run_here("python3", "-I", "-c", program, url)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_containerd_alone_has_no_network_and_is_asked_from_within(room):
    place, folder = room
    script = str(scripts(folder)["containerd.sh"])
    with containerd(place):
        place.run("ctr", "images", "import", str(folder / "image.tar"))
        place.run("sh", script)
        try:
            for _ in range(50):
                done = place.run("sh", script, "ask", "v2/health/ready", check=False)
                if done.returncode == 0:
                    break
            assert json.loads(done.stdout) is True, done
            told = json.loads(place.run("sh", script, "ask", "environment").stdout)
            assert told["PACKAGER_REGION"] == "site/riyadh-lab"
            reached = place.run("sh", script, "ask", "reach/203.0.113.1/80").stdout
            assert json.loads(reached) != REACHED
            spec = json.loads(place.run("ctr", "container", "info", NAME).stdout)["Spec"]
            assert spec["process"]["user"] == {
                "uid": 65532,
                "gid": 65532,
                "additionalGids": [65532],
            }
            assert not spec["process"]["capabilities"].get("effective")
            assert spec["root"]["readonly"] is True
        finally:
            place.run("ctr", "task", "kill", "--signal", "KILL", NAME, check=False)
            place.run("ctr", "container", "rm", NAME, check=False)
