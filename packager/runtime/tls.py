"""TLS 1.3 and 1.2 for the open port, with certificates that change while the server runs.

New connections get the certificate that lies on the disk; those that stand keep theirs. A pair that
cannot be read, or whose parts do not fit, is told in the journal, and the old one stays.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .access import CERTIFICATE, CLIENT_AUTHORITIES, AccessSettings
from .errors import ExitCode, Refusal

if TYPE_CHECKING:
    import ssl


class Tls:
    """The contexts of the listeners; there are none where the server speaks without TLS."""

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._stamps: list[tuple[int, int]] = []
        self._contexts: dict[str, ssl.SSLContext] = {}
        if settings.certificate is not None:
            self.context("http/1.1")
            self._stamps = self._seen()

    def context(self, protocol: str) -> ssl.SSLContext | None:
        """The context for a protocol by its ALPN name; raises Refusal for files of no use."""
        if self._settings.certificate is None:
            return None
        if protocol not in self._contexts:
            self._contexts[protocol] = _context(self._settings, protocol)
        return self._contexts[protocol]

    def changed(self) -> bool:
        """Whether one of the files is another one than the one that was read."""
        if not self._contexts:
            return False
        try:
            return self._seen() != self._stamps
        except OSError:
            return True

    def reload(self) -> None:
        """Take the files as they are now; raises Refusal, and then nothing has changed."""
        if not self._contexts:
            return
        stamps = self._seen()
        _context(self._settings, "")  # tried on another one first: half a change must not stay
        for context in self._contexts.values():
            _load(context, self._settings)
        self._stamps = stamps

    def _seen(self) -> list[tuple[int, int]]:
        files = (
            self._settings.certificate,
            self._settings.private_key,
            self._settings.client_authorities,
        )
        return [_stamp(file) for file in files if file is not None]


def _context(settings: AccessSettings, protocol: str) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocol:
        context.set_alpn_protocols([protocol])
    if settings.client_authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    _load(context, settings)
    return context


def _load(context: ssl.SSLContext, settings: AccessSettings) -> None:
    if settings.certificate is None:
        return
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
        if settings.client_authorities is not None:
            context.load_verify_locations(settings.client_authorities)
    except (OSError, ValueError) as error:
        # The name of the reason says enough; a message might quote a key file.
        reason = getattr(error, "reason", None) or type(error).__name__
        raise Refusal(
            ExitCode.CONFIGURATION,
            f"{CERTIFICATE}, its key or {CLIENT_AUTHORITIES} cannot be used: {reason}",
        ) from error


def _stamp(file: str) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_mtime_ns, status.st_ino


def principal(certificate: object) -> str | None:
    """The common name of a verified client certificate, as `ssl` tells it."""
    if not isinstance(certificate, dict):
        return None
    for group in certificate.get("subject", ()):
        for key, value in group:
            if key == "commonName":
                return f"cert:{value}"
    return None
