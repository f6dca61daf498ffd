"""The local Docker engine: find it, load a verified image, start it so that nothing gets out.

This module and `docker_container` alone know the Docker SDK. An image is loaded from the layout and
believed only when its ID is the configuration digest that the signed manifest names. A container
runs without root, capabilities or a writable root file system, on an internal network: it has no
name server, and the engine's packet filter drops whatever is not for that network or for this
machine itself. The host reaches it at its own address, or through a relay on loopback. Where the
host is not on such a network (Docker Desktop, rootless Docker, an engine in another network
namespace), it gets a bridge without masquerading and a port published on 127.0.0.1 alone;
`Container.isolated` says which of the two it is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import docker
import requests
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image as DockerImage
from docker.models.networks import Network

from packager.digest import Digest
from packager.domain.artifact import Image
from packager.errors import VerificationError
from packager.oci.docker_container import Container, asking, remove_container, remove_network
from packager.oci.image_archive import image_entries, tar_chunks
from packager.oci.layout_reading import read_layout
from packager.oci.loopback_relay import LoopbackRelay
from packager.progress import SILENT, Progress
from packager.release_source import Files

__all__ = ["Container", "Engine", "NoEngine", "engine"]

_SECONDS = 300  # the engine unpacks a large layer without a word in between
_LABEL = "dev.packager.run"
_FIRST_WITH_ZSTD = 23
_NO_NAME_SERVER = "127.0.0.1"  # within the container: nothing listens there


@dataclass(frozen=True, slots=True)
class NoEngine:
    """No engine answers; false in a condition. `reason` is fit to be shown."""

    reason: str

    def __bool__(self) -> Literal[False]:
        return False


def engine() -> Engine | NoEngine:
    """The engine of this machine: `$DOCKER_HOST`, the system's socket, or the user's own."""
    named = os.environ.get("DOCKER_HOST")
    if named and not named.startswith("unix://"):
        return NoEngine(f"DOCKER_HOST names an engine that is not on this machine: {named}")
    mine = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "docker.sock"
    addresses = [named] if named else ["unix:///var/run/docker.sock", f"unix://{mine}"]
    reasons = []
    for address in addresses:
        if not Path(address.removeprefix("unix://")).exists():
            reasons.append(f"no Docker socket at {address.removeprefix('unix://')}")
            continue
        try:
            return Engine(docker.DockerClient(base_url=address, timeout=_SECONDS))
        except (DockerException, requests.RequestException) as error:
            reasons.append(f"the Docker engine at {address} does not answer: {error}")
    return NoEngine("; ".join(reasons))


class Engine:
    """A Docker engine that answered."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self._info: dict[str, Any] = client.info()
        self.version = str(self._info.get("ServerVersion", "unknown"))
        self.architecture = str(self._info.get("Architecture", "unknown"))

    def close(self) -> None:
        """Close the connection to the engine."""
        self._client.close()

    def load(
        self, layout_files: Files | Path, manifest: Digest, progress: Progress = SILENT
    ) -> str:
        """Load one image of a layout and return its ID in the engine.

        Raises VerificationError when the layout is not sound or the engine's image is not the one
        that `manifest` names, UnavailableError when the engine does not take it.
        """
        # The engine hashes every layer against the configuration, so it is not done twice.
        layout = read_layout(layout_files, check_layers=False)
        image = layout.image_of(manifest)
        loaded = self._present(image)
        if loaded is None:
            entries = image_entries(layout, image, zstd=self._reads_zstd())
            chunks = _told(tar_chunks(entries), image, progress)
            with asking("load the image"):
                # requests streams an iterator; the SDK's annotation knows only bytes and files.
                images = self._client.images.load(cast(Any, chunks))
            # By its own digest: the tag that the engine answers with may be another image's by now.
            loaded = self._present(image)
            if loaded is None:
                raise VerificationError(
                    "the engine loaded another image than the signed manifest names",
                    where=image.reference,
                    expected=str(image.config.digest),
                    got=", ".join(str(each.id) for each in images) or "none",
                    next_step="remove that image, verify the release, and load it again",
                )
        return str(loaded.id)

    def start(
        self,
        image_id: str,
        *,
        name: str,
        port: int | None = None,
        inner_port: int = 8080,
        grpc_port: int = 8081,
        memory_bytes: int = 2 << 30,
        processes: int = 512,
    ) -> Container:
        """Start a container of an image that was loaded; `port` on 127.0.0.1, None for any.

        Raises UnavailableError when the engine refuses; nothing of the attempt is left behind.
        """
        resources = contextlib.ExitStack()
        with asking(f"start a container of {image_id[:19]}"), resources:
            network, isolated = self._network(name, resources)
            published = {} if isolated else {f"{inner_port}/tcp": ("127.0.0.1", port or 0)}
            offered = self._client.images.get(image_id).attrs["Config"].get("ExposedPorts") or {}
            further = f"{grpc_port}/tcp" if f"{grpc_port}/tcp" in offered else None
            if further and not isolated:
                published[further] = ("127.0.0.1", 0)
            started = self._client.containers.create(
                image_id,
                **_confined(name, memory_bytes, processes),
                network=network.name,
                dns=[_NO_NAME_SERVER],
                ports=published,
            )
            resources.callback(remove_container, started)
            started.start()
            started.reload()
            settings = started.attrs["NetworkSettings"]
            grpc = None
            if further and isolated:
                grpc = f"{settings['Networks'][network.name]['IPAddress']}:{grpc_port}"
            elif further:
                grpc = "{HostIp}:{HostPort}".format(**settings["Ports"][further][0])
            if isolated:
                address = settings["Networks"][network.name]["IPAddress"], inner_port
                if port is not None:
                    relay = LoopbackRelay(port, address)
                    resources.callback(relay.close)
                    address = "127.0.0.1", relay.port
            else:
                (binding, *_) = settings["Ports"][f"{inner_port}/tcp"]
                address = binding["HostIp"], int(binding["HostPort"])
            return Container(
                f"http://{address[0]}:{address[1]}", isolated, started, resources.pop_all(), grpc
            )

    def output_of(
        self, image_id: str, arguments: Sequence[str], *, name: str, seconds: int = 600
    ) -> tuple[int, str, str]:
        """Run a container without any network to its end: exit status, stdout, stderr.

        `arguments` follow the image's own. Raises UnavailableError when the engine refuses, or
        when it takes longer than `seconds`.
        """
        resources = contextlib.ExitStack()
        with asking(f"run {image_id[:19]}"), resources:
            created = self._client.containers.create(
                image_id,
                list(arguments),
                network_mode="none",
                **_confined(name, 4 << 30, 512),
            )
            resources.callback(remove_container, created)
            created.start()
            status = int(created.wait(timeout=seconds)["StatusCode"])
            out, err = created.logs(stdout=True, stderr=False), created.logs(stdout=False)
        return status, out.decode(errors="replace"), err.decode(errors="replace")

    def _reads_zstd(self) -> bool:
        major = self.version.partition(".")[0]
        return not major.isdecimal() or int(major) >= _FIRST_WITH_ZSTD

    def _present(self, image: Image) -> DockerImage | None:
        """The image when the engine has it already: an ID *is* the digest of what it names."""
        for identity in _signed_ids(image):
            with asking("look for the image"):
                try:
                    found = self._client.images.get(identity)
                except ImageNotFound:
                    continue
                if found.id == identity:
                    if image.reference not in found.tags:
                        found.tag(*image.reference.rsplit(":", 1))
                    return found
        return None

    def _network(self, name: str, resources: contextlib.ExitStack) -> tuple[Network, bool]:
        """A network of the container's own, and whether it is one without a way out."""
        if self._shares_our_network():
            internal = self._client.networks.create(
                f"{name}-internal", driver="bridge", internal=True, labels={_LABEL: name}
            )
            internal.reload()
            if _is_ours(internal.attrs["IPAM"]["Config"][0].get("Gateway", "")):
                resources.callback(remove_network, internal)
                return internal, True
            internal.remove()
        bridge = self._client.networks.create(
            f"{name}-published",
            driver="bridge",
            options={"com.docker.network.bridge.enable_ip_masquerade": "false"},
            labels={_LABEL: name},
        )
        resources.callback(remove_network, bridge)
        return bridge, False

    def _shares_our_network(self) -> bool:
        security = " ".join(self._info.get("SecurityOptions") or [])
        desktop = "Docker Desktop" in str(self._info.get("OperatingSystem", ""))
        return sys.platform == "linux" and not desktop and "rootless" not in security


def _confined(name: str, memory_bytes: int, processes: int) -> dict[str, Any]:
    """What every container of ours is held to."""
    return {
        "name": name,
        "labels": {_LABEL: name},
        "user": "65532:65532",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777"},  # noqa: S108
        "mem_limit": memory_bytes,
        "memswap_limit": memory_bytes,
        "pids_limit": processes,
        "log_config": docker.types.LogConfig(
            type="json-file", config={"max-size": "10m", "max-file": "1"}
        ),
    }


def _signed_ids(image: Image) -> tuple[str, str]:
    """An image's ID: the configuration's digest, or the manifest's in a containerd image store."""
    return str(image.config.digest), str(image.manifest.digest)


def _is_ours(gateway: str) -> bool:
    """Whether the network's gateway is an address of this machine, seen from where we run."""
    try:
        with socket.socket() as probe:
            probe.bind((gateway, 0))
    except OSError:
        return False
    return bool(gateway)


def _told(chunks: Iterator[bytes], image: Image, progress: Progress) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        progress.advance(f"load {image.reference}", min(done, image.size), image.size)
        yield chunk
