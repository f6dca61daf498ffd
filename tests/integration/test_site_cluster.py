"""A site with a cluster: the whole story on a real Kubernetes of one node, with no route out.

install 1.0 → serve → 1.1 (a delta) without a failed request → corrupted 1.2 refused → bad 1.3 goes
back by itself → rollback to 1.0; `status` tells the truth at each step. The cluster is built by
tests/peers/cluster.sh, which takes too long for CI, so that the test skips wherever nobody ran it.
What needs no cluster is in test_site_kubernetes.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundles import make_bundle, trusting
from cluster import CLUSTER_ROOT, REGISTRY, Cluster, cluster, lacking, old_templates
from peer_engines import engine_room
from real_site import TOOLS, RealSite
from site_releases import NAME, SiteTarget, site_release
from small_release import SmallRelease
from sticks import Stick, corrupted
from stock_clients import client_python

from packager import pipeline
from packager.domain.target import DeploymentPlatform
from packager.progress import SILENT
from packager.site.history import read_history

pytestmark = pytest.mark.engine

SPACE = f"{NAME}-sa-x86-64-v3"
LABELS = tuple(
    f"packager.dev.node-restriction.kubernetes.io/{key}"
    for key in ("jurisdiction=sa", "site=riyadh-lab")
)


@dataclass
class ClusterSite(RealSite):
    cluster: Cluster | None = None

    def url(self, path: str) -> str:
        """Of the Service, as a neighbour of its pods asks it."""
        port, host = self.asked_at
        return f"http://{host}:{port}{path}"

    def command(self, verb: str, release: SmallRelease | None, *more: object) -> list[str]:
        """With Python, scratch files lie where the room's kubectl sees them too."""
        words = super().command(verb, release, *more)
        if self.by == "python":
            words.insert(words.index("env") + 1, f"TMPDIR={self.base}")
        return words

    def service_address(self) -> str:
        assert self.cluster
        named = ("-n", SPACE, "get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}")
        return self.cluster.kubectl(*named)

    def deployments(self) -> dict[str, int]:
        """Name → replicas that are wanted, as the API server says."""
        assert self.cluster
        told = json.loads(self.cluster.kubectl("-n", SPACE, "get", "deployments", "-o", "json"))
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in told["items"]}

    def selected(self) -> str:
        """The version that the Service sends callers to."""
        assert self.cluster
        told = self.cluster.kubectl("-n", SPACE, "get", "service", NAME, "-o", "json")
        hexadecimal = json.loads(told)["spec"]["selector"]["packager.dev/slot"]
        slots = self.status()["slots"]
        return next(one["version"] for one in slots if one["name"].endswith(hexadecimal))


@pytest.fixture(scope="module")
def stick(tmp_path_factory) -> Stick:
    if why := lacking():
        pytest.skip(why)
    base = tmp_path_factory.mktemp("cluster-stick")
    more: dict = {
        "target": SiteTarget(platform=DeploymentPlatform.KUBERNETES),
        "templates": old_templates(base / "templates"),
    }
    made: dict[str, SmallRelease] = {}
    for version, factor, fault in (
        *(("1.0.0", 1.0, ""), ("1.1.0", 2.0, ""), ("1.2.0", 3.0, "")),
        *(("1.3.0", 4.0, "liar"), ("1.3.1", 5.0, "collapses")),
    ):
        made[version] = site_release(base / version, version, factor, fault=fault, **more)
        more["key_file"] = made[version].key_file
    media = {version: base / f"{version}.tar" for version in made}
    trust = trusting(made["1.0.0"])
    old = made["1.0.0"].folder
    pipeline.bundle(made["1.1.0"].folder, trust, media["1.1.0"], [], SILENT, delta_from=old)
    for version in ("1.0.0", "1.2.0", "1.3.0", "1.3.1"):
        make_bundle(made[version], media[version])
    return Stick(base, made, media)


@pytest.fixture(scope="module")
def running(stick, tmp_path_factory) -> Iterator[Cluster]:
    """One cluster for all: each site has its own data folder, and leaves nothing there."""
    shared = [tmp_path_factory.getbasetemp(), CLUSTER_ROOT]
    with contextlib.ExitStack() as stack:
        room = stack.enter_context(engine_room(*TOOLS["kubernetes"], "busybox", shared=shared))
        folder = tmp_path_factory.mktemp("cluster") / "node"
        made = stack.enter_context(cluster(room, folder))
        made.kubectl("label", "node", "node", *LABELS)
        assert "default" not in room.run("ip", "route", "show", "table", "main").stdout
        yield made


@contextlib.contextmanager
def cluster_site(by: str, base: Path, made: Cluster) -> Iterator[ClusterSite]:
    site = ClusterSite(made.room, base, "kubernetes", by, cluster=made)
    site.profile(**usual(made))
    if by == "python":
        (base / "bin").mkdir()
        words = " ".join(f"'{word}'" for word in made.room.command("kubectl"))
        (base / "bin/kubectl").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (base / "bin/kubectl").chmod(0o755)
    try:
        yield site
    finally:
        for space in (SPACE, "vision"):
            made.kubectl("delete", "namespace", space, "--ignore-not-found", check=False)


def usual(made: Cluster) -> dict[str, str]:
    """What a profile says of this cluster."""
    return {
        "registry": REGISTRY,
        "push": made.push,
        "kubeconfig": str(made.kubeconfig),
    }


def holds(site: ClusterSite, version: str) -> None:
    """Status says so, the Service sends there, and no other version has a pod that is wanted."""
    status = site.status()
    assert (status["serving"], status["ready"], status["candidate"]) == (version, True, "")
    assert site.selected() == version
    serving = next(slot["name"] for slot in status["slots"] if slot["version"] == version)
    assert {name for name, wanted in site.deployments().items() if wanted} == {serving}


@pytest.mark.parametrize("by", ["dash", "ash", "python"])
def test_from_the_first_stick_to_a_rollback_in_a_cluster(by, stick, running, tmp_path):
    with cluster_site(by, tmp_path, running) as site:
        assert site.cluster
        done = stick.install(site, "1.0.0")
        assert done.code == 0, done.err
        holds(site, "1.0.0")
        site.asked_at = ("8080", site.service_address())

        with site.load() as told:
            done = stick.install(site, "1.1.0")
        assert done.code == 0, done.err
        assert told["failures"] == []
        assert set(told["answers"]) == {"1.0", "2.0"}
        holds(site, "1.1.0")

        done = stick.install(site, "1.2.0", corrupted(stick, "1.2.0"))
        assert done.code == 4, done.err
        holds(site, "1.1.0")

        with site.load() as told:
            never = stick.install(site, "1.3.0")
        assert never.code == 1, never.err
        assert "off by 1" in never.err
        assert (told["failures"], set(told["answers"])) == ([], {"2.0"})
        holds(site, "1.1.0")

        # Callers bring it down after the switch; a Service has nobody to ask instead of it.
        with site.load() as told:
            back = stick.install(site, "1.3.1")
        assert back.code == 1, back.err
        assert told["answers"]["2.0"] > 0
        holds(site, "1.1.0")

        # The Service had no endpoints for a while; what the node remembers of that would still meet
        # callers in the next minutes, so that the switch back could not be judged alone.
        _, address = site.asked_at
        wait(lambda: not running.untranslated(address), 180)
        with site.load() as told:
            done = site.run("rollback")
        assert done.code == 0, done.err
        assert told["failures"] == []
        holds(site, "1.0.0")

        results = [record.document["result"] for record in read_history(site.home)]
        # Python refuses what is not as signed before the site's own program is asked.
        refused = [] if by == "python" else ["refused"]
        assert results == ["done", "done", *refused, "failed", "rolled-back", "done"]
        assert site.run("uninstall").code == 0
        assert site.deployments() == {}


def test_a_stock_client_by_grpc_through_the_service(stick, running, tmp_path):
    """A Service has a port for each protocol; no call by either fails in an upgrade."""
    python = client_python("tritonclient.grpc")
    more: dict = {
        "target": SiteTarget(platform=DeploymentPlatform.KUBERNETES),
        "templates": old_templates(tmp_path / "templates"),
        "key_file": stick.releases["1.0.0"].key_file,
    }
    first = site_release(tmp_path / "1.4.0", "1.4.0", 6.0, grpc=True, **more)
    second = site_release(tmp_path / "1.5.0", "1.5.0", 7.0, grpc=True, **more)
    (tmp_path / "site").mkdir()
    with cluster_site("ash", tmp_path / "site", running) as site:
        done = site.run("install", first)
        assert done.code == 0, done.err
        where = f"{NAME}.{SPACE}.svc"
        assert f"{where}:8080 (HTTP) and {where}:8081 (gRPC)" in done.out
        site.asked_at = ("8080", site.service_address())
        with site.load() as http, site.grpc_load(python, "8081") as told:
            done = site.run("install", second)
        assert done.code == 0, done.err
        assert (http["failures"], told["failures"]) == ([], [])
        assert set(http["answers"]) == set(told["answers"]) == {"6.0", "7.0"}


def test_what_a_cluster_must_be_for_a_release(stick, running, tmp_path):
    """Refusals by name, all at once, before anything is there."""
    with cluster_site("dash", tmp_path, running) as site:
        assert site.cluster
        site.profile(**{**usual(running), "kubeconfig": str(running.folder / "guest.conf")})
        done = stick.install(site, "1.0.0")
        assert done.code == 3, done.err
        assert "may not create deployments.apps" in done.err

        site.profile(**usual(running))
        site.cluster.kubectl("label", "node", "node", f"{LABELS[1].partition('=')[0]}-")
        done = stick.install(site, "1.0.0")
        assert done.code == 3, done.err
        assert "no node that is ready stands where the release may run" in done.err
        site.cluster.kubectl("label", "node", "node", *LABELS, "--overwrite")

        site.cluster.kubectl("create", "namespace", SPACE)
        done = stick.install(site, "1.0.0")
        assert done.code == 3, done.err
        assert "the namespace is somebody else's" in done.err
        site.cluster.kubectl("delete", "namespace", SPACE)

        given = {**usual(running), "namespace": "vision"}
        site.profile(**given)
        assert stick.install(site, "1.0.0").code == 0
        assert site.status()["listen"] == f"{NAME}.vision.svc:8080"
        # Another machine's data folder does not know what runs there, and takes nothing away.
        site.profile(**given, data=str(tmp_path / "elsewhere"))
        done = stick.install(site, "1.1.0", stick.releases["1.1.0"].folder)
        assert done.code == 3, done.err
        assert "this data folder does not know" in done.err
        site.profile(**given)
        assert site.status()["ready"]


def test_a_killed_installer_and_a_service_that_was_bent(stick, running, tmp_path):
    """What is not as the state says is put in order, and callers are served meanwhile."""
    with cluster_site("ash", tmp_path, running) as site:
        assert stick.install(site, "1.0.0").code == 0
        site.profile(**{**usual(running), "watch": "600"})
        words = site.command("install", stick.releases["1.1.0"], stick.media["1.1.0"])
        with (tmp_path / "told").open("wb") as told:
            installing = subprocess.Popen(words, stderr=told, start_new_session=True)
        wait(lambda: "watch for" in (tmp_path / "told").read_text(), 300)
        os.killpg(installing.pid, signal.SIGKILL)
        installing.wait()
        site.profile(**usual(running))
        status = site.status()
        assert (status["serving"], bool(status["fallback"])) == ("1.1.0", True)
        assert site.run("resume").code == 0
        holds(site, "1.1.0")

        bent = {"spec": {"selector": {"packager.dev/slot": "000000000000"}}}
        running.kubectl("-n", SPACE, "patch", "service", NAME, "-p", json.dumps(bent))
        status = site.status()
        assert (status["door"], status["ready"]) == ("elsewhere: 000000000000", False)
        assert site.run("resume").code == 0
        holds(site, "1.1.0")
        running.kubectl("-n", SPACE, "delete", "pods", "--all", "--wait=false")
        wait(lambda: site.status()["ready"], 120)


def wait(done: Callable[[], bool], seconds: float) -> None:
    last = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < last
        time.sleep(0.5)
