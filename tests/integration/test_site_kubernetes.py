"""What a site with a cluster does that needs no cluster: manifests, registry, what is refused.

kubectl with its kustomize, curl and the registry are the real ones; the installer's own functions
run under dash and busybox ash. The story on a real cluster is in test_site_cluster.py.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from admission import refusals
from cluster import room_registry
from engines import missing
from peer_engines import EngineRoom, engine_room
from site_machine import PROFILE, installer
from site_releases import NAME, SiteTarget, site_release
from small_release import SmallRelease

from packager.domain.target import DeploymentPlatform

pytestmark = pytest.mark.engine

REGISTRY = "registry.site.example:5000/ml"
USER, PASSWORD = "packager", "open sesame"
HASHED = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"
SHELLS = {"dash": ("dash",), "ash": ("busybox", "ash")}


@dataclass
class Installer:
    """The functions of a release's install.sh in a room, for one site."""

    room: EngineRoom
    base: Path
    release: SmallRelease
    shell: str

    def profile(self, **changes: str) -> None:
        values = {**PROFILE, "engine": "kubernetes", "data": str(self.base / "data")}
        values |= {"registry": REGISTRY, "push": "http://127.0.0.1:5000", **changes}
        lines = [f"{key}: {value}\n" for key, value in values.items()]
        (self.base / "site.yaml").write_text("".join(lines))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The program as an operator runs it."""
        script = [str(installer(self.release.folder)), *words]
        given = ("--site", str(self.base / "site.yaml"), "--key", str(self.release.public_file))
        return self.room.run(*SHELLS[self.shell], *script, *given, check=False)

    def does(self, program: str) -> subprocess.CompletedProcess[str]:
        """Some of its functions, after the release was verified."""
        lines = installer(self.release.folder).read_text().splitlines(keepends=True)
        assert lines.pop() == 'main "$@"\n'
        functions = self.base / "functions.sh"
        functions.write_text("".join(lines))
        prepared = f"""
            . {shlex.quote(str(functions))}
            SELF={shlex.quote(str(installer(self.release.folder)))} VERIFIED='' PARTS='' BASE=''
            SITE={self.base}/site.yaml RELEASE={self.release.folder} KEYS={self.release.public_file}
            WORK=$(mktemp -d) RECORDING='' DRY='' PURGE='' OPERATOR='' PLAIN='' JSON=''
            read_site && set_paths && set_names && load_state
            verify_release && SLOT=$(slot_of "$RELEASE_DIGEST")
            {program}
        """
        return self.room.run(*SHELLS[self.shell], "-c", prepared, check=False)


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> dict[str, SmallRelease]:
    base = tmp_path_factory.mktemp("kubernetes-releases")
    more: dict[str, Any] = {"target": SiteTarget(platform=DeploymentPlatform.KUBERNETES)}
    made: dict[str, SmallRelease] = {}
    for version, factor in (("1.0.0", 1.0), ("1.1.0", 2.0)):
        made[version] = site_release(base / version, version, factor, light=True, **more)
        more["key_file"] = made[version].key_file
    return made


@pytest.fixture(scope="module")
def room(releases, tmp_path_factory):
    shared = [tmp_path_factory.getbasetemp()]
    with engine_room("kubectl", "curl", "oras", "busybox", "dash", shared=shared) as opened:
        yield opened


@pytest.fixture
def place(room, releases, tmp_path):
    def make(version: str, shell: str = "dash", **profile: str) -> Installer:
        made = Installer(room, tmp_path, releases[version], shell)
        made.profile(**profile)
        return made

    return make


def documents(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((folder / f"manifests/{name}.yaml").read_text()))


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (one,) = [document for document in found if document["kind"] == kind]
    return one


@pytest.mark.parametrize("shell", SHELLS)
def test_manifests_of_two_versions_stand_side_by_side(place, releases, tmp_path, shell):
    """Each is the signed one with the site's registry and namespace, and a name of its own."""
    guard = """
        kept=$(printf %s "$S_slots")
        asked() { cp "$WORK/guard.yaml" GUARD; }
        S_candidate="$SLOT other-0123456789ab" && apply_guard
    """.replace("GUARD", str(tmp_path / "guard.yaml"))
    for version in releases:
        done = place(version, shell, namespace="vision").does(f"write_manifests; {guard}")
        assert done.returncode == 0, done.stderr
    slots = sorted((tmp_path / "data" / NAME / "slots").iterdir())
    assert len(slots) == 2
    admitted = []
    for slot in slots:
        hexadecimal = slot.name.rpartition("-")[2]
        version = next(
            one for one in releases.values() if sha256(_root(one)).hexdigest()[:12] == hexadecimal
        )
        found = documents(slot, "slot")
        deployment = of_kind(found, "Deployment")
        assert deployment["metadata"]["name"] == slot.name
        assert deployment["metadata"]["namespace"] == "vision"
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels["packager.dev/slot"] == hexadecimal
        assert deployment["spec"]["selector"]["matchLabels"]["packager.dev/slot"] == hexadecimal
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == f"{REGISTRY}/{NAME}@{version.built[0].image.manifest.digest}"
        scaler = of_kind(found, "HorizontalPodAutoscaler")
        assert scaler["spec"]["scaleTargetRef"]["name"] == scaler["metadata"]["name"] == slot.name
        service = of_kind(documents(slot, "service"), "Service")
        assert (service["metadata"]["name"], service["metadata"]["namespace"]) == (NAME, "vision")
        assert service["spec"]["selector"]["packager.dev/slot"] == hexadecimal
        rest = documents(slot, "rest")
        assert of_kind(rest, "Namespace")["metadata"]["name"] == "vision"
        assert "packager.dev/slot" not in json.dumps(rest)
        assert f"{NAME}-sa-x86-64-v3" not in json.dumps([found, service, rest])
        template = deployment["spec"]["template"]
        admitted.append({"metadata": template["metadata"], "spec": template["spec"]})
    policies = [one for slot in slots for one in documents(slot, "slot")]
    # The guard of the version that was made last knows itself and one more.
    last = tmp_path / "guard.yaml"
    policies += list(yaml.safe_load_all(last.read_text().replace("0123456789ab", _other(slots))))
    for pod in admitted:
        assert refusals(policies, pod) == []
    first, second = admitted
    swapped = {**first, "spec": second["spec"]}
    assert len(refusals(policies, swapped)) == 1, "its policy names its own image"
    stranger = {"metadata": {"labels": {}}, "spec": first["spec"]}
    assert refusals(policies, stranger) == [
        "only pods of a version that was installed here run in this namespace"
    ]


def _other(slots: list[Path]) -> str:
    """Of two slots the one that the last guard does not name: versions come in order."""
    made = max(slots, key=lambda slot: (slot / "manifests/rest.yaml").stat().st_mtime_ns)
    (other,) = [slot for slot in slots if slot != made]
    return other.name.rpartition("-")[2]


def _root(release: SmallRelease) -> bytes:
    return (release.folder / "release.json").read_bytes()


def test_a_manifest_that_changed_since_it_was_verified_is_not_applied(place, tmp_path, releases):
    file = f"targets/{releases['1.0.0'].built[0].plan.name}/base/service.yaml"
    harm = f'cp "$RELEASE/{file}" {tmp_path}/kept; RELEASE={tmp_path}/copy'
    copied = f"cp -r {releases['1.0.0'].folder} {tmp_path}/copy && echo >>{tmp_path}/copy/{file}"
    done = place("1.0.0").does(f"{copied}; {harm}; write_manifests")
    assert done.returncode == 4
    assert "a manifest is not the one that was signed" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_push_by_curl_is_whole_and_sends_nothing_twice(place, room, tmp_path, shell):
    if not _registry_here():
        missing("docker-registry is not installed")
    site = place("1.0.0", shell)
    image = site.release.built[0].image.manifest.digest
    with room_registry(room, tmp_path / "registry") as address:
        first = site.does("push_image")
        assert first.returncode == 0, first.stderr
        again = site.does("push_image")
        assert "0 blobs were sent" in again.stderr
        other = place("1.1.0", shell).does("push_image")
        assert other.returncode == 0, other.stderr
        sent = int(other.stderr.rpartition(" blobs were sent")[0].split()[-1])
        assert 0 < sent < 18, "what both have went up once"
        where = f"{address}/ml/{NAME}"
        fetched = room.run("oras", "manifest", "fetch", "--plain-http", f"{where}@{image}").stdout
        assert f"sha256:{sha256(fetched.encode()).hexdigest()}" == str(image)
        told = room.run("oras", "discover", "--plain-http", "--format=json", f"{where}@{image}")
        listed = json.loads(told.stdout)
        found = listed.get("referrers") or listed["manifests"]
        assert len(found) == 6, "signature, provenance, two inventories, compliance, quality"
        tag = f"sha256-{image.hex}.sig"
        assert room.run("oras", "manifest", "fetch", "--plain-http", f"{where}:{tag}").stdout


def test_a_registry_that_asks_who_this_is(place, room, tmp_path):
    if not _registry_here():
        missing("docker-registry is not installed")
    (tmp_path / "passwords").write_text(f"{USER}:{HASHED}\n")
    netrc = f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n'
    (tmp_path / "netrc").write_text(netrc)
    with room_registry(room, tmp_path / "registry", password_file=tmp_path / "passwords"):
        refused = place("1.0.0").does("fits_registry; leave $RESULT")
        assert refused.returncode == 5
        assert "name a curl netrc file in the site profile" in refused.stderr
        done = place("1.0.0", login=str(tmp_path / "netrc")).does("fits_registry; push_image")
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stderr + done.stdout


def test_a_registry_that_gives_other_bytes_is_refused(place, room, tmp_path):
    """What the nodes would pull is read back and hashed."""
    if not _registry_here():
        missing("docker-registry is not installed")
    site = place("1.0.0")
    liar = """
        curl() {
          command curl "$@"
          case $* in *"--request GET"*/manifests/*) echo >>"$WORK/body" ;; esac
        }
        push_image
    """
    with room_registry(room, tmp_path / "registry"):
        done = site.does(liar)
    assert done.returncode == 4, done.stderr
    assert "the registry gives another image than the signed one" in done.stderr


@pytest.mark.parametrize(("alive", "told"), [("yes", "agree"), ("", "no longer ready")])
def test_a_cluster_may_be_slow_to_lead_callers_to_pods_that_are_ready(place, alive, told):
    """And is not waited for when no pod is ready any more."""
    faults = """
        STATE=$WORK/state && echo serving=slot-1 >"$STATE"
        await_pods() { :; }
        ask_pods() { echo agree; }
        pods_ready() { printf %s "ALIVE"; }
        routed() { echo >>"$WORK/asked" && [ -n "ALIVE" ] && [ "$(wc -l <"$WORK/asked")" -gt 6 ]; }
        pods_steady() { :; }
        why_not() { echo "nobody is there"; }
        cluster_probe both slot-1 5 0
    """.replace("ALIVE", alive)
    done = place("1.0.0").does(faults)
    assert done.stdout.splitlines()[0] == "tested: agree"
    assert told in done.stdout.splitlines()[-1]
    assert done.returncode == (0 if alive else 3)


def test_a_pod_that_was_started_again_ends_the_watch(place):
    """It is ready again when it is looked at, and would end again under its next callers."""
    faults = """
        STATE=$WORK/state && echo serving=slot-1 >"$STATE"
        await_pods() { :; }
        ask_pods() { echo agree; }
        routed() { echo >>"$WORK/asked"; }
        asked() { printf '%s: ' "$(($(wc -l <"$WORK/asked") / 3))"; }
        why_not() { echo "it fell over"; }
        cluster_probe both slot-1 5 60
    """
    done = place("1.0.0").does(faults)
    assert done.stdout.splitlines()[-1] == "no longer ready: it fell over"
    assert done.returncode == 3


@pytest.mark.parametrize("shell", SHELLS)
def test_pods_that_were_in_service_answer_until_every_node_knows_of_the_switch(place, shell):
    """However short the watch is: endpoints first, then the time that nodes are given."""
    faults = """
        S_serving=multiply-new
        routed() {
          echo >>"$WORK/asked"
          [ "$(wc -l <"$WORK/asked")" -gt 3 ] && date +%s >"$WORK/moved"
        }
        sleep() { [ "$1" = 0.3 ] || echo "$(wc -l <"$WORK/asked") asked, slept $1" >>"$WORK/did"; }
        by_cluster() { echo "$*" >>"$WORK/did"; }
        leave_server multiply-old
        echo $(($(date +%s) - LEAVE_SECONDS)) >"$WORK/moved"
        leave_server multiply-older
        cat "$WORK/did"
    """
    done = place("1.0.0", shell).does(faults)
    assert done.returncode == 0, done.stderr
    slept, *stopped = done.stdout.splitlines()
    assert slept in {"4 asked, slept 15", "4 asked, slept 14"}
    assert [line.split()[0] for line in stopped] == ["stop", "stop"]
    assert [line.split()[-1] for line in stopped] == ["multiply-old", "multiply-older"]


@pytest.mark.parametrize(
    ("endpoints", "led"),
    [
        *(("10.0.0.1", True), ("10.0.0.1 10.0.0.2", True), ("10.0.0.1 10.0.0.9", False)),
        *(("10.0.0.9", False), ("10.0.0.2", False), ("", False)),
    ],
)
def test_a_service_leads_to_a_version_when_it_leads_to_nobody_else(place, endpoints, led):
    """Of its two pods one is ready; 10.0.0.9 is another version's."""
    faults = """
        asked() {
          case "$*" in
            *"get service"*) printf new ;;
            *"get pods"*) printf 'one 10.0.0.1  True\\ntwo 10.0.0.2  False\\nthree    \\n' ;;
            *"get endpointslices"*) for address in ENDPOINTS; do echo "$address"; done ;;
          esac
        }
        routed multiply-new && [ -s "$WORK/moved" ]
    """.replace("ENDPOINTS", endpoints)
    assert (place("1.0.0").does(faults).returncode == 0) is led


@pytest.mark.parametrize("back", [True, False])
def test_a_bad_version_is_known_of_while_the_service_may_lead_to_it(place, back):
    """Else whoever takes over from a killed installer would find a stranger's installation."""
    faults = """
        mkdir -p "$HOME_DIR"
        S_slots='multiply-old 1.0.0 a t i 1
multiply-bad 1.1.0 b t j 2
'
        S_serving=multiply-bad S_fallback=multiply-old RECORDING=install IMAGE_ID=j
        running() { :; }
        callers_left() { :; }
        switch_door() { grep -c '^slot=' "$STATE"; grep ^serving "$STATE"; BACK; }
        remove_slot() { echo "removed $1"; }
        revert
        grep -c '^slot=' "$STATE"
    """.replace("BACK", "true" if back else "false")
    done = place("1.0.0").does(faults)
    rest = ["removed multiply-bad", "1"] if back else ["2"]
    assert done.stdout.splitlines() == ["2", "serving=multiply-old", *rest], done.stderr
    assert ("does not point back" in done.stderr) is not back


def test_where_callers_come_in_is_told_for_each_protocol(place):
    site = place("1.0.0")
    assert site.does("served_at").stdout == f"{NAME}.{NAME}-sa-x86-64-v3.svc:8080\n"
    told = site.does("R_GRPC=1; served_at; SITE_engine=podman SITE_listen=127.0.0.1:80; served_at")
    service, door = told.stdout.splitlines()
    where = f"{NAME}.{NAME}-sa-x86-64-v3.svc"
    assert service == f"{where}:8080 (HTTP) and {where}:8081 (gRPC)"
    assert door == "127.0.0.1:80 (HTTP and gRPC)"


def test_neither_cluster_nor_registry_answers(place, tmp_path):
    """Both are told at once, and nothing is there afterwards but the record."""
    server = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    (tmp_path / "kube.conf").write_text(
        json.dumps({"current-context": "c", "clusters": [server], "contexts": [context]})
    )
    site = place("1.0.0", kubeconfig=str(tmp_path / "kube.conf"))
    done = site.command("install", "--dry-run")
    assert done.returncode == 5, done.stderr
    assert "the cluster does not answer" in done.stderr
    assert "the registry does not answer" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_cluster_is_no_machine(place):
    done = place("1.0.0", engine="podman").command("install", "--dry-run")
    assert done.returncode == 3
    assert "the release's target is for another kind of engine" in done.stderr
    done = place("1.0.0", registry="nowhere").command("install", "--dry-run")
    assert done.returncode == 2
    assert "registry is where the nodes pull from" in done.stderr


def _registry_here() -> bool:
    return (
        subprocess.run(["which", "docker-registry"], capture_output=True, check=False).returncode
        == 0
    )
