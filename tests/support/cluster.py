"""A Kubernetes cluster of one node in a room of its own: the programs of tests/peers/cluster.sh.

    with cluster(room) as site:
        room.run("kubectl", "--kubeconfig", site.kubeconfig, "get", "nodes")

etcd, API server, controllers, scheduler, kubelet with a containerd of its own, and kube-proxy share
the room's network, which has no route out. Pods have addresses on a bridge in it, so whoever asks
from the room asks as a pod's neighbour does: through a Service's address. Nodes pull from a real
registry there. The version is 1.20, the newest whose source a Debian release has whole, so that
releases for it are rendered with `old_templates`: what 1.30 added is left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from peer_engines import EngineRoom

from packager.resources import data_folder

CLUSTER_ROOT = Path(os.environ.get("PACKAGER_CLUSTER_ROOT", "/var/lib/packager-cluster"))
REGISTRY = "registry.site.example:5000/ml"
NODE = "10.99.0.1"
_PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("kubelet", "kube-proxy", "pause"),
)
_UNANSWERED = "nf_conntrack_tcp_timeout_syn_sent"
# The kubelet sets these of the kernel, which are the whole machine's: here it writes to files.
_KERNEL = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10",
    "kernel/panic_on_oops": "1", "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}  # fmt: skip


def lacking() -> str:
    """What is not there, in words; empty when a cluster can be started.

    Its story takes ten minutes and binaries built by hand: it runs where it is asked for, not
    wherever an earlier run left the binaries.
    """
    if os.environ.get("PACKAGER_CLUSTER") != "1":
        return "a cluster is asked for by PACKAGER_CLUSTER=1"
    for program in _PROGRAMS:
        if not (CLUSTER_ROOT / "bin" / program).exists():
            return f"{program} is not in {CLUSTER_ROOT}: run tests/peers/cluster.sh"
    return "" if shutil.which("docker-registry") else "docker-registry is not installed"


def old_templates(folder: Path) -> Path:
    """The built-in templates without what Kubernetes 1.20 does not know."""
    built_in = data_folder("templates")

    def text(name: str) -> str:
        return (built_in / name).read_text(encoding="utf-8")

    container = "shared/container.yaml.j2"
    changed = {"validatingadmissionpolicy": ""}
    for name, old, new in (
        ("poddisruptionbudget", "policy/v1", "policy/v1beta1"),
        ("horizontalpodautoscaler", "autoscaling/v2", "autoscaling/v2beta2"),
        ("deployment", f'{{% include "{container}" %}}\n', _without_sleep(text(container))),
    ):
        whole = text(f"kubernetes/base/{name}.yaml.j2")
        assert old in whole
        changed[name] = whole.replace(old, new)
    (folder / "kubernetes/base").mkdir(parents=True, exist_ok=True)
    for name, whole in changed.items():
        (folder / f"kubernetes/base/{name}.yaml.j2").write_text(whole, encoding="utf-8")
    return folder


def _without_sleep(text: str) -> str:
    """Less the `lifecycle` block: sleeping without a program came with 1.30. And for a node that
    many share: little is reserved, and whoever is slow to answer is not started again for it."""
    before, _, rest = text.partition("lifecycle:\n")
    for key, value in (("failureThreshold", "60"), ("timeoutSeconds", "20")):
        before = re.sub(rf"{key}: .*", f"{key}: {value}", before)
    before = re.sub(r"cpu: .*", "cpu: 100m", before, count=1)
    return before + rest[rest.index("volumeMounts:") :]


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs; files are the same inside and outside."""

    room: EngineRoom
    folder: Path
    push: str

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.conf"

    def kubectl(self, *words: str, check: bool = True, text: str = "") -> str:
        command = ("kubectl", f"--kubeconfig={self.kubeconfig}", *words)
        return self.room.run(*command, check=check, text=text).stdout

    def untranslated(self, address: str) -> list[str]:
        """Connections begun to a Service's address that the kernel tracks without translation.

        When a Service without any endpoint gets one, kube-proxy takes the refusal away before it
        writes the way there, and what is sent between the two goes nowhere. Whoever is given the
        same source port again, as long as the kernel remembers, goes there too
        (kubernetes/kubernetes#48719).
        """
        tool = (f"{CLUSTER_ROOT}/bin/conntrack", "--dump", "--proto", "tcp", "--reply-src", address)
        libraries = {"LD_LIBRARY_PATH": f"{CLUSTER_ROOT}/bin"}
        return self.room.run(*tool, environment=libraries).stdout.splitlines()


@contextlib.contextmanager
def cluster(room: EngineRoom, folder: Path) -> Iterator[Cluster]:
    """`folder` is one of the room's shared ones, on a plain file system."""
    with contextlib.ExitStack() as stack:
        _prepare(room, folder)
        push = stack.enter_context(room_registry(room, folder / "registry"))
        _containerd(room, folder, push, stack)
        site = Cluster(room, folder, f"http://{push}/ml")
        _control(room, folder, site, stack)
        _node(room, folder, site, stack)
        yield site


def _prepare(room: EngineRoom, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("kubelet", "etcd", "kernel", "logs"):
        (folder / name).mkdir()
    for number, (name, value) in enumerate(_KERNEL.items()):
        file = folder / "kernel" / str(number)
        file.write_text(value + "\n")
        room.run("mount", "--bind", str(file), f"/proc/sys/{name}")
    for words in (
        ("link", "add", "node0", "type", "bridge"),
        ("address", "add", f"{NODE}/24", "dev", "node0"),
        ("link", "set", "node0", "up"),
        # Nothing lies behind it; without a route the kernel would not look at the Services' rules.
        ("route", "add", "10.96.0.0/16", "dev", "node0"),
    ):
        room.run("ip", *words)
    # How long an unanswered connection is remembered: 120 s, which a test need not wait for.
    room.run("sh", "-c", f"echo 15 >/proc/sys/net/netfilter/{_UNANSWERED}")
    room.run("openssl", "genrsa", "-out", str(folder / "accounts.pem"), "2048")
    (folder / "tokens.csv").write_text(
        'admin-token,admin,1,"system:masters"\nguest-token,guest,2,"guests"\n'
    )
    for name in ("admin", "guest"):
        user = {"name": name, "user": {"token": f"{name}-token"}}
        server = {"server": f"https://{NODE}:6443", "insecure-skip-tls-verify": True}
        context = {"name": "site", "context": {"cluster": "site", "user": name}}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "site", "users": [user],
            "clusters": [{"name": "site", "cluster": server}], "contexts": [context],
        }  # fmt: skip
        (folder / f"{name}.conf").write_text(json.dumps(document))
    network = {
        "cniVersion": "0.4.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]],
                      "dataDir": str(folder / "addresses")}},
        ],
    }  # fmt: skip
    (folder / "cni").mkdir()
    (folder / "cni" / "pods.conflist").write_text(json.dumps(network))


@contextlib.contextmanager
def room_registry(
    room: EngineRoom, folder: Path, port: int = 5000, password_file: Path | None = None
) -> Iterator[str]:
    """A real registry on the room's loopback; yields its address."""
    address = f"127.0.0.1:{port}"
    folder.mkdir()
    access = f"auth: {{htpasswd: {{realm: site, path: {password_file}}}}}" if password_file else ""
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\n{access}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
    )
    inside = ["nsenter", f"--target={room.holder}", "--net", "--"]
    with (folder / "log").open("wb") as log:
        serve = [*inside, "docker-registry", "serve", str(folder / "config.yml")]
        process = subprocess.Popen(serve, stdout=log, stderr=log)
    try:
        ask = ("curl", "--silent", "--output", "/dev/null", f"http://{address}/v2/")
        last = time.monotonic() + 30
        while room.run(*ask, check=False).returncode:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < last
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _containerd(room: EngineRoom, folder: Path, push: str, stack: contextlib.ExitStack) -> None:
    host = REGISTRY.partition("/")[0]
    config = folder / "containerd.toml"
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    config.write_text(
        f'version = 2\n[{cri}]\nsandbox_image = "site.example/pause:1"\n'
        "disable_apparmor = true\nrestrict_oom_score_adj = true\n"
        f'[{cri}.cni]\nbin_dir = "{CLUSTER_ROOT}/cni"\nconf_dir = "{folder}/cni"\n'
        f'[{cri}.registry.mirrors."{host}"]\nendpoint = ["http://{push}"]\n'
    )
    command = ("containerd", "--log-level=warn", f"--config={config}")
    stack.enter_context(room.serving(*command, until=("ctr", "version")))
    archive = folder / "pause.tar"
    archive.write_bytes(_pause_image((CLUSTER_ROOT / "bin/pause").read_bytes()))
    room.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))


def _control(room: EngineRoom, folder: Path, site: Cluster, stack: contextlib.ExitStack) -> None:
    _start(
        room, stack, "etcd", f"--data-dir={folder}/etcd", "--log-level=error",
        "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync",
        until=("sh", "-c", "curl --silent --fail http://127.0.0.1:2379/health"),
    )  # fmt: skip
    _start(
        room, stack, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={NODE}", f"--bind-address={NODE}",
        f"--cert-dir={folder}/certificates",
        f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=RBAC",
        "--kubelet-preferred-address-types=InternalIP", "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://site.example",
        f"--service-account-key-file={folder}/accounts.pem",
        f"--service-account-signing-key-file={folder}/accounts.pem",
        until=("kubectl", f"--kubeconfig={site.kubeconfig}", "get", "--raw", "/readyz"),
    )  # fmt: skip
    config = f"--kubeconfig={site.kubeconfig}"
    _start(
        room, stack, "kube-controller-manager", config, "--leader-elect=false",
        f"--service-account-private-key-file={folder}/accounts.pem", "--port=0",
    )  # fmt: skip
    _start(room, stack, "kube-scheduler", config, "--leader-elect=false", "--port=0")


def _node(room: EngineRoom, folder: Path, site: Cluster, stack: contextlib.ExitStack) -> None:
    config = f"--kubeconfig={site.kubeconfig}"
    _start(
        room, stack, "kubelet", config, f"--root-dir={folder}/kubelet", "--hostname-override=node",
        f"--node-ip={NODE}", "--container-runtime=remote", "--fail-swap-on=false",
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
        "--cgroup-driver=cgroupfs", "--cgroups-per-qos=false", "--enforce-node-allocatable=",
        "--authorization-mode=AlwaysAllow", "--anonymous-auth=true", "--cluster-dns=10.96.0.10",
        "--make-iptables-util-chains=false",
        "--eviction-hard=memory.available<1Mi,nodefs.available<1Mi",
        f"--cert-dir={folder}/certificates", "--runtime-cgroups=/", "--kubelet-cgroups=/",
        "--sync-frequency=10s", "--resolv-conf=",
        # The disk is shared with whoever else works here: nothing is taken away for being full.
        "--image-gc-high-threshold=100", "--image-gc-low-threshold=99",
    )  # fmt: skip
    _start(
        room, stack, "kube-proxy", config, "--hostname-override=node", "--proxy-mode=iptables",
        "--cluster-cidr=10.244.0.0/16", "--conntrack-max-per-core=0", "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
    )  # fmt: skip
    last = time.monotonic() + 120
    while "True" not in site.kubectl("get", "nodes", "-o", _READY, check=False):
        assert time.monotonic() < last, _log(room, "kubelet")
        time.sleep(0.5)


_READY = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'


def _log(room: EngineRoom, name: str) -> str:
    return (room.scratch / f"{name}.log").read_text(errors="replace")[-4000:]


def _start(
    room: EngineRoom,
    stack: contextlib.ExitStack,
    program: str,
    *options: str,
    until: tuple[str, ...] = ("true",),
) -> None:
    command = (f"{CLUSTER_ROOT}/bin/{program}", *options)
    stack.enter_context(room.serving(*command, until=until, seconds=120))


def _pause_image(program: bytes) -> bytes:
    """What holds a pod's namespaces, as `docker load` and `ctr images import` take it."""

    def packed(files: dict[str, tuple[bytes, int]]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, (data, mode) in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    layer = packed({"pause": (program, 0o755)})
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
        }
    ).encode()  # fmt: skip
    manifest = [
        {"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["site.example/pause:1"]}
    ]
    return packed(
        {
            "layer.tar": (layer, 0o644),
            "config.json": (config, 0o644),
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
        }
    )
