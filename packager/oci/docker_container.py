"""A container that we started in the Docker engine, until it is stopped and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container as DockerContainer
from docker.models.networks import Network

from packager.errors import UnavailableError


class Container:
    """A container that we started. `isolated` when nothing of it leaves this machine; `grpc` is
    `host:port` where the image has that."""

    def __init__(
        self,
        url: str,
        isolated: bool,
        container: DockerContainer,
        resources: contextlib.ExitStack,
        grpc: str | None = None,
    ) -> None:
        self.url = url
        self.grpc = grpc
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
        with asking("read the container's log"):
            return self._container.logs(tail=lines).decode(errors="replace")

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        with asking("wait for the container"):
            while True:
                with contextlib.suppress(requests.ReadTimeout, requests.ConnectionError):
                    return int(self._container.wait(timeout=3600)["StatusCode"])
                self._container.reload()

    def stop(self, grace_s: int = 15) -> None:
        """Stop it, `grace_s` seconds after asking by force; remove it and its network."""
        with asking("stop the container"):
            try:
                with contextlib.suppress(NotFound):
                    self._container.stop(timeout=grace_s)
            finally:
                self._resources.close()


def remove_container(container: DockerContainer) -> None:
    with contextlib.suppress(NotFound):
        container.remove(force=True, v=True)


def remove_network(network: Network) -> None:
    with contextlib.suppress(NotFound):
        network.remove()


@contextmanager
def asking(step: str) -> Iterator[None]:
    """Turns what the engine or the way to it says into an UnavailableError."""
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        raise UnavailableError(
            f"the Docker engine did not {step}",
            where="Docker engine",
            got=str(error)[:400],
            next_step=(
                "remove what holds the name: docker rm -f NAME, docker network rm NAME"
                if getattr(error, "status_code", None) == HTTPStatus.CONFLICT
                else "see `docker info`; `packager run --engine process` needs no engine"
            ),
        ) from error
