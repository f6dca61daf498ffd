"""Who may ask: API keys, client certificates, and when it is right to ask nobody.

Keys come from a file that the site mounts (a Kubernetes or podman secret), one a line: a name, and
the SHA-256 of the key in hexadecimal, so that the file itself opens nothing. It is read again when
it changes. A server that can be reached from other machines refuses to start without keys over TLS
or client certificates, unless the platform in front of it is declared to see to that.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from .addresses import is_loopback
from .errors import ExitCode, Refusal, RequestError
from .exchange import Exchange
from .http_settings import HttpSettings
from .reading import Reader
from .routes import Kind

KEYS = "PACKAGER_API_KEYS_FILE"
EXPOSURE = "PACKAGER_EXPOSURE"
CERTIFICATE = "PACKAGER_TLS_CERTIFICATE_FILE"
PRIVATE_KEY = "PACKAGER_TLS_KEY_FILE"
CLIENT_AUTHORITIES = "PACKAGER_TLS_CLIENT_CA_FILE"
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})\s+([0-9a-f]{64})")


class Exposure(StrEnum):
    """Who answers for access. PLATFORM: what stands in front of the server lets nobody through
    that may not ask (a network policy, a mesh, a port on loopback). SELF: the server does."""

    PLATFORM = "platform"
    SELF = "self"


class AccessSettings(NamedTuple):
    """What was declared, and which files the site mounts; None where it mounts none."""

    exposure: Exposure = Exposure.SELF
    keys: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    client_authorities: str | None = None

    def require_safe(self, http: HttpSettings) -> None:
        """Raises Refusal for what would be open to others, and for half of a declaration."""
        if (self.certificate is None) != (self.private_key is None):
            raise _refusal(f"{CERTIFICATE} and {PRIVATE_KEY} go together; one of them is missing")
        if self.client_authorities and not self.certificate:
            raise _refusal(f"{CLIENT_AUTHORITIES} needs {CERTIFICATE} and {PRIVATE_KEY}")
        if is_loopback(http.host) or self.exposure is Exposure.PLATFORM:
            return
        if self.certificate and (self.keys or self.client_authorities):
            return
        raise _refusal(
            f"{http.host} can be reached from other machines, and nobody would be asked who they"
            f" are: give {CERTIFICATE} and {PRIVATE_KEY} with {KEYS} or {CLIENT_AUTHORITIES},"
            f" or set {EXPOSURE}=platform where the platform sees to it"
        )


def read_access(reader: Reader | None, environment: Mapping[str, str]) -> AccessSettings:
    """The section `access` of server.json, and what the site says. Raises Refusal."""
    exposure = Exposure.SELF
    if reader is not None:
        reader.only(optional=("exposure",))
        if reader.has("exposure"):
            exposure = _exposure(reader.text("exposure"), f"{reader.document}: access.exposure")
    if told := environment.get(EXPOSURE):
        exposure = _exposure(told, EXPOSURE)
    return AccessSettings(
        exposure,
        *(
            environment.get(name) or None
            for name in (KEYS, CERTIFICATE, PRIVATE_KEY, CLIENT_AUTHORITIES)
        ),
    )


def _exposure(text: str, where: str) -> Exposure:
    if text not in list(Exposure):
        raise _refusal(f"{where} must be platform or self; got {text!r}")
    return Exposure(text)


class Access:
    """Lets requests through or not. Health is open to all: it tells nothing but yes or no."""

    def __init__(self, settings: AccessSettings) -> None:
        self._file = settings.keys
        self._keys: dict[bytes, str] = {}
        self._stamp: tuple[int, int] | None = None
        self.refused = 0
        if self._file is not None:
            self.reload()

    @property
    def asks(self) -> bool:
        """Whether a key is asked for."""
        return self._file is not None

    def check(self, exchange: Exchange, kind: Kind) -> None:
        """Raises RequestError (401) for a request without a known key."""
        if self._file is None or kind is Kind.HEALTH:
            return
        name = self._keys.get(hashlib.sha256(_presented(exchange)).digest())
        if name is None:
            self.refused += 1
            raise RequestError(
                401,
                "a known key is needed, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                headers={"www-authenticate": "Bearer"},
            )
        exchange.principal = exchange.client = name

    def changed(self) -> bool:
        """Whether the file is another one than the one that was read."""
        if self._file is None:
            return False
        try:
            return _stamp(self._file) != self._stamp
        except OSError:
            return True

    def reload(self) -> None:
        """Read the keys; raises Refusal, and then the keys known before go on being known."""
        file = self._file
        if file is None:
            return
        try:
            stamp, text = _stamp(file), _read(file)
        except (OSError, ValueError) as error:
            raise _refusal(f"{KEYS}: {file} cannot be read: {type(error).__name__}") from error
        keys = {}
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                raise _refusal(f"{KEYS}: line {number} must be a name and a SHA-256 in hexadecimal")
            keys[bytes.fromhex(found[2])] = found[1]
        if not keys:
            raise _refusal(f"{KEYS}: {file} has no key")
        self._keys, self._stamp = keys, stamp


def _presented(exchange: Exchange) -> bytes:
    bearer = exchange.headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    return exchange.headers.get(b"x-api-key", b"")


def _read(file: str) -> str:
    with open(file, encoding="ascii") as stream:
        return stream.read()


def _stamp(file: str) -> tuple[int, int]:
    # A mounted secret is a link that is pointed elsewhere, so that the number of the file changes.
    status = os.stat(file)
    return status.st_mtime_ns, status.st_ino


def _refusal(message: str) -> Refusal:
    return Refusal(ExitCode.CONFIGURATION, message)
