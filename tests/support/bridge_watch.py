"""Watches what a container sends over Docker's default bridge, from its start to its end."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator

from engines import missing

NAME_SERVER = "192.0.2.53"  # TEST-NET-1 (RFC 5737): a look-up leaves the container and dies
BRIDGE = "docker0"


class Watch:
    """Counts what a container sends over the bridge, save its answers from port 8080."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
        except PermissionError:
            missing("watching the bridge needs root")
        self._socket.bind((BRIDGE, 0))
        self._socket.settimeout(0.2)
        self._frames: list[bytes] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()

    def _record(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                self._frames.append(self._socket.recv(2048))

    def sent_by(self, address: str, hardware: str) -> tuple[list[str], int]:
        """What left the container on its own, and how many answers it gave."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()
        mac = bytes.fromhex(hardware.replace(":", ""))
        own = [frame for frame in self._frames if frame[6:12] == mac]
        attempts = [told for told in map(_attempt, own) if told]
        answers = sum(_is_answer(frame, address) for frame in own)
        return attempts, answers


def _attempt(frame: bytes) -> str | None:
    """An IP packet with a transport header that is no answer of the server."""
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == 0x0800:
        header = 14 + (frame[14] & 15) * 4
        protocol, target = frame[23], socket.inet_ntoa(frame[30:34])
    elif kind == 0x86DD:
        header, protocol = 54, frame[20]
        target = socket.inet_ntop(socket.AF_INET6, frame[38:54])
    else:
        return None  # ARP: the kernel looks for its neighbours on the wire
    if protocol not in (6, 17):
        return None  # ICMP and IGMP are the kernel's
    source, port = struct.unpack("!HH", frame[header : header + 4])
    if protocol == 6 and source == 8080:
        return None
    return f"{'tcp' if protocol == 6 else 'udp'} to {target} port {port}"


def _is_answer(frame: bytes, address: str) -> bool:
    return (
        frame[12:14] == b"\x08\x00"
        and frame[23] == 6
        and socket.inet_ntoa(frame[26:30]) == address
        and struct.unpack("!H", frame[14 + (frame[14] & 15) * 4 :][:2])[0] == 8080
    )


@contextlib.contextmanager
def container(image: str, *options: str) -> Iterator[dict]:
    """Start it as the manifests do, but on a bridge with a way out."""
    started = subprocess.run(
        [
            "docker", "run", "--detach", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp",
            "--security-opt", "no-new-privileges", "--dns", NAME_SERVER, *options, image,
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    name = started.stdout.strip()
    try:
        shown = subprocess.run(
            ["docker", "inspect", name], check=True, capture_output=True, text=True
        )
        yield json.loads(shown.stdout)[0]
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)
