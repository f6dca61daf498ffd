"""What `server.json` says of HTTP: where to listen, and how much any peer may take.

Only the five first keys must be there; the limits have defaults that suit a server with many
clients on ordinary networks.
"""

from __future__ import annotations

from typing import NamedTuple

from .addresses import family_of
from .errors import ExitCode, Refusal
from .reading import Reader


class Limits(NamedTuple):
    """Bytes, counts and seconds that bound one connection, and how many there may be.

    A head must be complete `header_seconds` after its first byte, a body `body_seconds` after its
    head; a peer that does not read its answer is cut after `write_seconds`, one that says nothing
    between requests after `idle_seconds`. The bodies of all requests, from their first byte to the
    answer, hold at most `max_held_bytes`.
    """

    max_body_bytes: int = 32 << 20
    max_header_bytes: int = 64 << 10
    max_connections: int = 16384
    max_held_bytes: int = 256 << 20
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    idle_seconds: float = 75.0


class HttpSettings(NamedTuple):
    """`host` is an address, never a name: a name would need a resolver. Bytes and seconds."""

    host: str
    port: int
    max_concurrency: int
    drain_seconds: float
    limits: Limits = Limits()

    @property
    def max_body_bytes(self) -> int:
        return self.limits.max_body_bytes

    def listening_on(self, host: str | None, port: int | None) -> HttpSettings:
        """The same with what the command line says instead; raises Refusal for a bad address."""
        chosen = self._replace(
            host=self.host if host is None else host,
            port=self.port if port is None else port,
        )
        if not is_address(chosen.host):
            raise _refusal(f"--host must be an IP address, such as 127.0.0.1; got {chosen.host!r}")
        if not 0 <= chosen.port <= 65535:
            raise _refusal(f"--port must be between 0 and 65535; got {chosen.port}")
        return chosen


def read_http(reader: Reader) -> HttpSettings:
    """The section `http` of server.json."""
    reader.only(
        *("host", "port", "max_body_bytes", "max_concurrency", "drain_seconds"),
        optional=(
            *("max_header_bytes", "max_connections", "max_held_bytes", "header_seconds"),
            *("body_seconds", "write_seconds", "idle_seconds"),
        ),
    )
    host = reader.text("host")
    if not is_address(host):
        raise reader.at("host").wrong("must be an IP address, such as 0.0.0.0")
    usual = Limits()
    largest = reader.integer("max_body_bytes", 1, 1 << 40)
    return HttpSettings(
        host=host,
        port=reader.integer("port", 0, 65535),
        max_concurrency=reader.integer("max_concurrency", 1, 1 << 20),
        drain_seconds=reader.number("drain_seconds", 0, 3600),
        limits=Limits(
            max_body_bytes=largest,
            max_header_bytes=reader.integer(
                "max_header_bytes", 1024, 1 << 20, usual.max_header_bytes
            ),
            max_connections=reader.integer("max_connections", 1, 1 << 20, usual.max_connections),
            max_held_bytes=reader.integer(
                "max_held_bytes", largest, 1 << 50, max(largest, usual.max_held_bytes)
            ),
            header_seconds=reader.number("header_seconds", 0.1, 3600, usual.header_seconds),
            body_seconds=reader.number("body_seconds", 0.1, 3600, usual.body_seconds),
            write_seconds=reader.number("write_seconds", 0.1, 3600, usual.write_seconds),
            idle_seconds=reader.number("idle_seconds", 0.1, 3600, usual.idle_seconds),
        ),
    )


def is_address(host: str) -> bool:
    """Whether it is an IP address, of version 4 or 6."""
    return family_of(host) is not None


def _refusal(message: str) -> Refusal:
    return Refusal(ExitCode.CONFIGURATION, message)
