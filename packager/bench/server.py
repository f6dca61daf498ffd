"""Whom we ask: an address with what opens it, and single questions to it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packager.bench.connection import LOST, Answered, Connection
from packager.errors import InputError, UnavailableError

PATIENCE_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server asks of a client: a key, and certificates as PEM files."""

    api_key: str | None = field(default=None, repr=False)
    authorities: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """`http(s)://host:port`, taken apart."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    fields: str

    @classmethod
    def at(cls, url: str, identity: Identity) -> Server:
        """Raises InputError for no address, and for certificates that cannot be used."""
        parts = urlsplit(url)
        try:
            port = parts.port or _PORTS[parts.scheme]
        except (KeyError, ValueError):
            port = 0
        if not parts.hostname or not port or parts.path.strip("/") or parts.username:
            raise InputError(
                "not the address of a server", where=url, expected="http://HOST:PORT or https://…"
            )
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        fields = f"Host: {name}:{port}\r\n"
        if identity.api_key is not None:
            if not identity.api_key.isascii() or not identity.api_key.isprintable():
                raise InputError("the API key is no line of ASCII", where="--api-key")
            fields += f"Authorization: Bearer {identity.api_key}\r\n"
        tls = _tls(identity) if parts.scheme == "https" else None
        return cls(f"{parts.scheme}://{name}:{port}", parts.hostname, port, tls, fields)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """The bytes of a whole request."""
        lines = f"{method} {path} HTTP/1.1\r\n{self.fields}"
        for name, value in (headers or {}).items():
            lines += f"{name}: {value}\r\n"
        if method == "POST":
            lines += f"Content-Length: {len(body)}\r\n"
        return lines.encode("latin-1") + b"\r\n" + body

    async def connect(self, answered: Answered, *, keep_body: bool = False) -> Connection:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, connection = await loop.create_connection(
                lambda: Connection(answered, keep_body=keep_body),
                self.host,
                self.port,
                ssl=self.tls,
            )
        return connection

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of one answer. Raises UnavailableError when there is none."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answered(_: Connection, status: int, __: float) -> None:
            if not done.done():
                done.set_result(status)

        try:
            connection = await self.connect(answered, keep_body=True)
        except (OSError, TimeoutError) as error:
            raise self._silent(str(error) or type(error).__name__) from error
        try:
            connection.ask(request, 0.0)
            async with asyncio.timeout(PATIENCE_SECONDS):
                status = await done
        except TimeoutError as error:
            raise self._silent(f"nothing for {PATIENCE_SECONDS:g} s") from error
        finally:
            connection.close()
        if status == LOST:
            raise self._silent("the connection broke off")
        return status, connection.body

    async def document(self, path: str) -> Any:
        """A JSON document that the server gives; None where it has none."""
        status, body = await self.ask(self.request("GET", path))
        if status in (401, 403):
            raise InputError(
                "the server does not know us",
                where=f"{self.url}{path}",
                got=f"HTTP {status}",
                next_step="give the key with --api-key, or a certificate with --client-certificate",
            )
        try:
            return json.loads(body) if status == 200 else None
        except ValueError:
            return None

    def _silent(self, got: str) -> UnavailableError:
        return UnavailableError(
            "the server did not answer",
            where=self.url,
            got=got[:300],
            next_step="see whether it runs: curl URL/v2/health/ready",
        )


def _tls(identity: Identity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=str(identity.authorities) if identity.authorities else None
        )
        if identity.certificate:
            key = str(identity.private_key) if identity.private_key else None
            context.load_cert_chain(str(identity.certificate), key)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(
            "a certificate or its key cannot be used",
            where=", ".join(
                str(file)
                for file in (identity.authorities, identity.certificate, identity.private_key)
                if file
            ),
            expected="PEM files",
            got=str(error),
        ) from error
    return context
