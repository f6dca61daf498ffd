"""Names of images in registries: `registry.example.de:5000/ml/filetype:1.4.0`.

The grammar is the distribution specification's ("Pulling manifests": repository names and tags);
the registry is always written out, since a name without one means a different registry to
different tools.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from packager.errors import InputError

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A tagged image in a registry. `host` may carry a port."""

    host: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `host/repository:tag`; raises InputError for anything else."""
        host, _, rest = text.partition("/")
        repository, _, tag = rest.rpartition(":")
        is_host = host == "localhost" or any(sign in host for sign in ".:")
        if not (
            is_host
            and _HOST.fullmatch(host)
            and _REPOSITORY.fullmatch(repository)
            and _TAG.fullmatch(tag)
        ):
            raise InputError(
                "not the name of an image in a registry",
                where=text[:200],
                expected="registry/repository:tag, such as registry.example.de/ml/filetype:1.4.0",
                next_step="name the registry too, with lower-case letters in the repository",
            )
        return cls(host, repository, tag)

    @property
    def on_loopback(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP harms nobody."""
        return is_loopback(self.host)

    @property
    def api_host(self) -> str:
        """Where the registry answers; Docker's own does so at another name than it goes by."""
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine's loopback interface."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
