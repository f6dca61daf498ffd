"""The one way into a deployment on a single machine: its program, and addresses for Compose.

In Compose the server's network is internal: nothing leaves it, and no port can be published from
it. A second container, the door, stands on that network and on one of its own, and copies bytes
between them. The door's network needs an address of the host to be reached from the host, and would
have a route out through it; so its default gateway is set to an address that nobody holds.

198.18.0.0/15 is set aside for benchmarks (RFC 2544) and appears in no routing table. Each target
takes eight addresses of it, chosen by its name, so that several run side by side on one host.

Quadlet needs none of this: systemd opens the socket, and hands it to a door without a network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Network

from packager.resources import data_folder

_RANGE = IPv4Network("198.18.0.0/15")
_PREFIX = 29


@dataclass(frozen=True, slots=True)
class DoorNetwork:
    """A subnet, the host's address in it, and the address that nobody holds."""

    subnet: str
    host: str
    nowhere: str


def door_network(name: str) -> DoorNetwork:
    """The same eight addresses for the same name, on every machine."""
    count = 1 << (_PREFIX - _RANGE.prefixlen)
    index = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % count
    first = _RANGE.network_address + index * (1 << (32 - _PREFIX))
    return DoorNetwork(f"{first}/{_PREFIX}", str(first + 1), str(first + 6))


def door_program() -> str:
    """`templates/shared/door.py`, for platforms where a program must stand in one line."""
    return (data_folder("templates") / "shared" / "door.py").read_text(encoding="utf-8")
