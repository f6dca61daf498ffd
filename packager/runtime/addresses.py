"""IP addresses by the C library: Python's `ipaddress` takes longer to load than a model of a MB."""

from __future__ import annotations

import socket


def family_of(address: str) -> socket.AddressFamily | None:
    """AF_INET or AF_INET6; None for what is no address. No resolver is asked."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        return family
    return None


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3)."""
    family = family_of(address)
    if family is None:
        return False
    packed = socket.inet_pton(family, address)
    if family is socket.AF_INET:
        return packed[0] == 127
    return packed == bytes(15) + b"\1" or packed[:13] == bytes(10) + b"\xff\xff\x7f"
