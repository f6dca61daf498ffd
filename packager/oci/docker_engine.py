"""The local Docker engine: find it, load a verified image, start it so that nothing gets out.

The only module that knows the Docker SDK. An image is loaded from the layout and believed only when
its ID is the configuration digest that the signed manifest names. A container runs without root,
capabilities or a writable root file system, on an internal network: it has no route out and no name
server, and the host reaches it at its own address (or through a relay on loopback). Where the host
cannot reach such a network (Docker Desktop, rootless Docker, an engine of another machine's
network), it gets a bridge without masquerading and a port published on 127.0.0.1 alone;
`Container.isolated` says which of the two it is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import docker
import requests
from docker.errors import DockerException, ImageNotFound, NotFound
from docker.models.containers import Container as DockerContainer
from docker.models.images import Image as DockerImage
from docker.models.networks import Network

from packager.digest import Digest
from packager.domain.artifact import Image
from packager.errors import UnavailableError, VerificationError
from packager.oci.image_archive import image_entries, tar_chunks
from packager.oci.layout_reading import read_layout
from packager.oci.loopback_relay import LoopbackRelay
from packager.progress import SILENT, Progress

_SECONDS = 300  # the engine unpacks a large layer without a word in between
_LABEL = "dev.packager.run"
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
            client = docker.DockerClient(base_url=address, timeout=_SECONDS)
            return Engine(client)
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

    def load(self, layout_folder: Path, manifest: Digest, progress: Progress = SILENT) -> str:
        """Load one image of a layout and return its ID in the engine.

        Raises VerificationError when the layout is not sound or the engine's image is not the one
        that `manifest` names, UnavailableError when the engine does not take it.
        """
        # The engine hashes every layer against the configuration, so it is not done twice.
        layout = read_layout(layout_folder, check_layers=False)
        image = layout.image_of(manifest)
        loaded = self._present(image)
        if loaded is None:
            chunks = _told(tar_chunks(image_entries(layout, image)), image, progress)
            with _asking("load the image"):
                # requests streams an iterator; the SDK's annotation knows only bytes and files.
                images = self._client.images.load(cast(Any, chunks))
            for each in images:
                if each.id not in _signed_ids(image):
                    raise VerificationError(
                        "the engine loaded another image than the signed manifest names",
                        where=image.reference,
                        expected=str(image.config.digest),
                        got=str(each.id),
                        next_step="remove that image, verify the release, and load it again",
                    )
            loaded = images[0]
        return str(loaded.id)

    def start(
        self,
        image_id: str,
        *,
        name: str,
        port: int | None = None,
        inner_port: int = 8080,
        memory_bytes: int = 2 << 30,
        processes: int = 512,
    ) -> Container:
        """Start a container of an image that was loaded; `port` on 127.0.0.1, None for any.

        Raises UnavailableError when the engine refuses; nothing of the attempt is left behind.
        """
        resources = contextlib.ExitStack()
        with _asking(f"start a container of {image_id[:19]}"), resources:
            network, isolated = self._network(name, resources)
            published = {} if isolated else {f"{inner_port}/tcp": ("127.0.0.1", port or 0)}
            started = self._client.containers.create(
                image_id,
                name=name,
                labels={_LABEL: name},
                user="65532:65532",
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
                tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777"},  # noqa: S108
                mem_limit=memory_bytes,
                memswap_limit=memory_bytes,
                pids_limit=processes,
                network=network.name,
                dns=[_NO_NAME_SERVER],
                ports=published,
                log_config=docker.types.LogConfig(
                    type="json-file", config={"max-size": "10m", "max-file": "1"}
                ),
            )
            resources.callback(_remove, started)
            started.start()
            started.reload()
            settings = started.attrs["NetworkSettings"]
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
                f"http://{address[0]}:{address[1]}", isolated, started, resources.pop_all()
            )

    def _present(self, image: Image) -> DockerImage | None:
        """The image when the engine has it already: an ID *is* the digest of what it names."""
        for identity in _signed_ids(image):
            with _asking("look for the image"):
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
                resources.callback(_remove_network, internal)
                return internal, True
            internal.remove()
        bridge = self._client.networks.create(
            f"{name}-published",
            driver="bridge",
            options={"com.docker.network.bridge.enable_ip_masquerade": "false"},
            labels={_LABEL: name},
        )
        resources.callback(_remove_network, bridge)
        return bridge, False

    def _shares_our_network(self) -> bool:
        security = " ".join(self._info.get("SecurityOptions") or [])
        desktop = "Docker Desktop" in str(self._info.get("OperatingSystem", ""))
        return sys.platform == "linux" and not desktop and "rootless" not in security


class Container:
    """A container that we started. `isolated` when it has no route out at all."""

    def __init__(
        self,
        url: str,
        isolated: bool,
        container: DockerContainer,
        resources: contextlib.ExitStack,
    ) -> None:
        self.url = url
        self.isolated = isolated
        self.id = str(container.id)
        self.name = str(container.name)
        self._container = container
        self._resources = resources

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def running(self) -> bool:
        """Whether its process is alive; false as well when the engine is gone."""
        try:
            self._container.reload()
        except (DockerException, requests.RequestException):
            return False
        return bool(self._container.status == "running")

    def logs(self, lines: int = 200) -> str:
        """The last lines that it wrote, standard output and error together."""
        with _asking("read the container's log"):
            return self._container.logs(tail=lines).decode(errors="replace")

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        with _asking("wait for the container"):
            while True:
                with contextlib.suppress(requests.ReadTimeout, requests.ConnectionError):
                    return int(self._container.wait(timeout=3600)["StatusCode"])
                self._container.reload()

    def stop(self, grace_s: int = 15) -> None:
        """Stop it, `grace_s` seconds after asking by force; remove it and its network."""
        with _asking("stop the container"):
            try:
                with contextlib.suppress(NotFound):
                    self._container.stop(timeout=grace_s)
            finally:
                self._resources.close()


def _remove(container: DockerContainer) -> None:
    with contextlib.suppress(NotFound):
        container.remove(force=True, v=True)


def _remove_network(network: Network) -> None:
    with contextlib.suppress(NotFound):
        network.remove()


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


@contextmanager
def _asking(step: str) -> Iterator[None]:
    """Turns what the engine or the way to it says into an UnavailableError."""
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        raise UnavailableError(
            f"the Docker engine did not {step}",
            where="Docker engine",
            got=str(error)[:400],
            next_step="see `docker info`; `packager run --engine process` needs no engine",
        ) from error
