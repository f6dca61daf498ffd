"""A real Docker engine takes our images, as this tool and as stock tools bring them.

The image holds one static program that tells from within what it may do.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from engines import docker_engine, missing, static_program
from tiny_images import layout, referrer, signature, tiny_image

from packager.canonical import SourceDateEpoch
from packager.errors import UnavailableError, VerificationError
from packager.launch.client import wait_ready
from packager.oci.docker_engine import Engine
from packager.oci.layer import LayerStore

pytestmark = pytest.mark.engine

REFERENCE = f"registry.example.de/ml/packager-probe:{os.getpid()}"
FOREIGN = f"registry.example.sg/ml/packager-probe:{os.getpid()}-arm64"
NAME = f"packager-probe-{os.getpid()}"
READ_ONLY = 30


@pytest.fixture(scope="module")
def engine():
    found = docker_engine()
    yield found
    for reference in (REFERENCE, FOREIGN):
        subprocess.run(["docker", "image", "rm", "-f", reference], capture_output=True, check=False)
    found.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    program = static_program(Path(__file__).parent.parent / "support" / "probe.c", folder / "probe")
    store = LayerStore(folder / "store", SourceDateEpoch())
    ours = tiny_image(store, REFERENCE, program=program)
    foreign = tiny_image(store, FOREIGN, architecture="arm64")
    artifacts = [make(image) for image in (ours, foreign) for make in (signature, referrer)]
    return ours, layout(folder / "images", store, ours, foreign, artifacts=artifacts)


def ask(container, path: str) -> str:
    with urllib.request.urlopen(f"{container.url}{path}", timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def started(engine, images):
    image, folder = images
    with engine.start(engine.load(folder, image.manifest.digest), name=NAME) as container:
        wait_ready(container.url, 20, container.running)
        yield container


def left_over() -> list[str]:
    return [
        line
        for what in (["ps", "-a"], ["network", "ls"])
        for line in subprocess.run(
            ["docker", *what, "--filter", f"name={NAME}", "--quiet"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    ]


def test_the_loaded_image_is_the_signed_one(engine, images):
    image, folder = images
    told = []

    class Listener:
        step = note = lambda *_: None

        def advance(self, detail, done, total):
            told.append((done, total))

    assert engine.load(folder, image.manifest.digest, progress=Listener()) == str(
        image.config.digest
    )
    assert told[-1] == (image.size, image.size)
    assert engine.load(folder, image.manifest.digest) == str(image.config.digest)


def test_a_tag_that_somebody_else_takes_meanwhile_is_no_other_image(engine, images, monkeypatch):
    """The engine answers with a tag, which is asked for again to learn the image behind it."""
    image, folder = images
    other = images[1].parent / "other"
    store = LayerStore(other / "store", SourceDateEpoch())
    theirs = tiny_image(store, REFERENCE, program=b"another one")
    load = engine._client.images.load

    def load_and_lose_the_tag(chunks):
        load(chunks)
        monkeypatch.undo()
        lost = engine.load(layout(other / "images", store, theirs), theirs.manifest.digest)
        return [engine._client.images.get(lost)]

    subprocess.run(["docker", "image", "rm", "-f", REFERENCE], capture_output=True, check=False)
    monkeypatch.setattr(
        type(engine._client.images), "load", lambda _, it: load_and_lose_the_tag(it)
    )
    assert engine.load(folder, image.manifest.digest) == str(image.config.digest)


def test_stock_docker_load_takes_the_folder_with_all_its_images(engine, images):
    image, folder = images
    tar = subprocess.Popen(["tar", "-C", folder, "-cf", "-", "."], stdout=subprocess.PIPE)
    with tar:
        loaded = subprocess.run(
            ["docker", "load"], stdin=tar.stdout, capture_output=True, text=True, check=True
        ).stdout
    assert REFERENCE in loaded
    assert FOREIGN in loaded
    found = subprocess.run(
        ["docker", "image", "inspect", REFERENCE], capture_output=True, check=True
    ).stdout
    (inspected,) = json.loads(found)
    assert inspected["Id"] == str(image.config.digest)
    assert inspected["RootFS"]["Layers"] == [str(layer.diff_id) for layer in image.layers]
    assert inspected["Config"]["User"] == "65532:65532"


def test_without_root_capabilities_or_a_writable_root(started):
    told = ask(started, "/who")
    assert "uid 65532 gid 65532" in told
    for line in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert f"{line}:\t0000000000000000" in told
    assert "NoNewPrivs:\t1" in told
    assert ask(started, "/write") == f"root {READ_ONLY} tmp 0\n"
    assert "probe is ready" in started.logs()


LISTEN = """
import socket, sys
with socket.socket() as listener:
    listener.bind((sys.argv[1], 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another_machine():
    """A network namespace behind a wire of its own, with a route back: a machine out there."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        missing("a network namespace needs root and ip")
    name = f"pkg{os.getpid()}"
    # Workers run side by side, and each has a wire of its own with two addresses of TEST-NET-2.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 60
    here, there = (f"198.51.100.{4 * worker + side}" for side in (1, 2))
    commands = [
        f"ip netns add {name}",
        f"ip link add {name}a type veth peer name {name}b netns {name}",
        f"ip addr add {here}/30 dev {name}a",
        f"ip link set {name}a up",
        f"ip -n {name} addr add {there}/30 dev {name}b",
        f"ip -n {name} link set {name}b up",
        f"ip -n {name} route add default via {here}",
    ]
    listener = None
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
        listener = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", LISTEN, there],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        yield f"/reach/{there}/{int(listener.stdout.readline())}"
    finally:
        if listener:
            listener.communicate(timeout=10)
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_no_route_out(started, another_machine):
    assert started.isolated
    assert int(ask(started, another_machine)) != 0


def test_the_fallback_publishes_on_loopback_alone(engine, images, another_machine, monkeypatch):
    """Also shows that the test above can fail: this form has a route."""
    image, folder = images
    monkeypatch.setattr(Engine, "_shares_our_network", lambda _: False)
    with engine.start(engine.load(folder, image.manifest.digest), name=NAME) as container:
        wait_ready(container.url, 20, container.running)
        assert not container.isolated
        assert container.url.startswith("http://127.0.0.1:")
        published = subprocess.run(
            ["docker", "port", container.id], capture_output=True, text=True, check=True
        ).stdout.split()
        assert published[-1] == container.url.removeprefix("http://")
        assert len(published) == 3
        assert int(ask(container, another_machine)) == 0


def test_a_port_on_loopback_without_a_route_out(engine, images, another_machine):
    image, folder = images
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    image_id = engine.load(folder, image.manifest.digest)
    with engine.start(image_id, name=NAME, port=port) as container:
        assert container.url == f"http://127.0.0.1:{port}"
        wait_ready(container.url, 20, container.running)
        assert container.isolated
        assert int(ask(container, another_machine)) != 0
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_stopping_removes_what_was_started_and_nothing_else(engine, images):
    image, folder = images
    container = engine.start(engine.load(folder, image.manifest.digest), name=NAME)
    wait_ready(container.url, 20, container.running)
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(container.wait()))
    waiting.start()
    assert len(left_over()) == 2
    container.stop()
    waiting.join(20)
    assert ended == [0]
    assert not container.running()
    container.stop()
    assert left_over() == []
    assert engine.load(folder, image.manifest.digest) == str(image.config.digest)


def test_a_start_that_fails_leaves_nothing(engine, images, started):
    before = left_over()
    with pytest.raises(UnavailableError, match="start"):
        engine.start(str(images[0].config.digest), name=NAME)
    assert left_over() == before
    with pytest.raises(UnavailableError, match="start"):
        engine.start("sha256:" + "0" * 64, name=f"{NAME}-none")
    assert left_over() == before


def test_an_engine_that_loads_something_else_is_not_believed(engine, images, monkeypatch):
    image, folder = images

    class Stranger:
        id = "sha256:" + "1" * 64

    monkeypatch.setattr(Engine, "_present", lambda *_: None)
    monkeypatch.setattr(engine._client.images.__class__, "load", lambda *_: [Stranger()])
    with pytest.raises(VerificationError, match="another image"):
        engine.load(folder, image.manifest.digest)


def test_a_layer_that_was_tampered_with_is_refused_by_the_engine(engine, tmp_path):
    """The layers are not hashed by `load` itself; this shows that the engine does it."""
    store = LayerStore(tmp_path / "store", SourceDateEpoch())
    reference = f"{REFERENCE}-tampered"
    victim = tiny_image(store, reference, model=os.urandom(40))
    broken = layout(tmp_path / "images", store, victim)
    blob = broken / "blobs" / "sha256" / victim.layers[1].descriptor.digest.hex
    data = bytearray(blob.read_bytes())
    data[600] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    with pytest.raises(UnavailableError):
        engine.load(broken, victim.manifest.digest)
    known = subprocess.run(["docker", "image", "ls", "-q", reference], capture_output=True)
    assert known.stdout == b""


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def test_containerd_takes_every_image_of_the_folder_and_nothing_else(images, tmp_path):
    """`ctr images import` names what carries a reference name; signatures must not."""
    _, folder = images
    sockets = ("/run/containerd/containerd.sock", "/var/run/docker/containerd/containerd.sock")
    # A socket file may have outlived its containerd: whether somebody answers is what counts.
    address = next((path for path in sockets if _answers(path)), None)
    if not shutil.which("ctr") or address is None or os.geteuid() != 0:
        missing("containerd and its ctr are needed, as root")
    name = f"packager-{os.getpid()}"

    def ctr(*arguments):
        done = subprocess.run(
            ["ctr", "-a", address, "-n", name, *arguments], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    archive = tmp_path / "images.tar"
    subprocess.run(["tar", "-C", folder, "-cf", archive, "."], check=True)
    try:
        ctr("images", "import", "--all-platforms", "--no-unpack", str(archive))
        assert sorted(ctr("images", "ls", "-q").split()) == sorted([REFERENCE, FOREIGN])
    finally:
        known = ctr("images", "ls", "-q").split()
        if known:
            ctr("images", "rm", "--sync", *known)
        for blob in ctr("content", "ls", "-q").split():
            ctr("content", "rm", blob)
        ctr("namespaces", "rm", name)
