"""Three networks around one machine: "inside", "other region" and "internet".

The machine is an engine room; each network is a namespace joined to it by a cable, with an address
of its own kind behind: a site's (RFC 1918), another region's and the internet's (RFC 5737). The
machine forwards, as one with an engine does, and each network has its route back, so that nothing
but the deployment itself keeps a container from reaching them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from peer_engines import EngineRoom

PORT = 9000
FAR = {"inside": "10.77.0.10", "region": "198.51.100.10", "internet": "203.0.113.80"}
_CABLES = {name: f"10.78.{number}" for number, name in enumerate(FAR)}


@dataclass(frozen=True)
class ThreeNetworks:
    """The namespaces by name. Each holds its address of `FAR`, where something listens on PORT."""

    room: EngineRoom

    def at_machine(self, name: str) -> str:
        """The machine's own address on the cable to a network."""
        return f"{_CABLES[name]}.1"

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this workplace in one of the networks."""
        inode = self.room.root / "run/netns" / name
        return subprocess.run(
            ["nsenter", f"--net={inode}", *command],
            capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, name: str, url: str) -> object:
        """The JSON that a client in a network gets; None when nobody answers there."""
        program = (
            "import sys, urllib.request as r; "
            "print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
        )
        done = self.run(name, "python3", "-I", "-c", program, url)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def machine_reaches(self, address: str) -> bool:
        connect = ("busybox", "nc", "-w", "2", address, str(PORT))
        return self.room.run(*connect, check=False).returncode == 0


@contextlib.contextmanager
def three_networks(room: EngineRoom) -> Iterator[ThreeNetworks]:
    """Lay the cables; the room takes them along when it closes."""
    room.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    for name, far in FAR.items():
        cable = _CABLES[name]
        for command in (
            f"netns add {name}",
            f"link add to-{name} type veth peer name cable netns {name}",
            f"addr add {cable}.1/24 dev to-{name}",
            f"link set to-{name} up",
            f"-n {name} link set lo up",
            f"-n {name} addr add {far}/32 dev lo",
            f"-n {name} addr add {cable}.2/24 dev cable",
            f"-n {name} link set cable up",
            f"-n {name} route add default via {cable}.1",
            f"route add {far}/32 via {cable}.2",
        ):
            room.run("ip", *command.split())
    room.run("ip", "route", "add", "default", "via", f"{_CABLES['internet']}.2")
    networks = ThreeNetworks(room)
    with contextlib.ExitStack() as stack:
        for name, far in FAR.items():
            listen = ("busybox", "nc", "-ll", "-p", str(PORT), "-e", "true")
            connect = ("busybox", "nc", "-w", "2", far, str(PORT))
            stack.enter_context(room.serving("ip", "netns", "exec", name, *listen, until=connect))
        yield networks
