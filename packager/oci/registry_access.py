"""Who we are to a registry: answers its challenge with Basic or Bearer credentials.

RFC 7235 challenges, RFC 7617 Basic, and the token protocol that registries share (distribution
project, "Token Authentication"). Credentials go to the registry and to the token service that it
names, over TLS (or on loopback), and nowhere else.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, _basic_auth_str

from packager.errors import UnavailableError
from packager.oci.credentials import Credentials
from packager.oci.reference import is_loopback

_SCHEME = re.compile(r"\b(Basic|Bearer)\b", re.IGNORECASE)
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_SECONDS = (10, 60)


class Access(AuthBase):
    """Puts what was learned from challenges on requests to one registry."""

    def __init__(self, origin: str, credentials: Credentials | None, *, plain_http: bool) -> None:
        self._origin = origin
        self._credentials = credentials
        self._plain_http = plain_http
        self._header: str | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # An upload may be sent elsewhere (a storage service): never with our credentials.
        if self._header and request.url and origin_of(request.url) == self._origin:
            request.headers["Authorization"] = self._header
        return request

    def answer(self, session: requests.Session, challenge: str, scope: str) -> bool:
        """Learn from a `WWW-Authenticate` header; whether trying again makes sense."""
        before = self._header
        for scheme, parameters in _challenges(challenge):
            if scheme == "bearer" and "realm" in parameters:
                self._header = f"Bearer {self._token(session, parameters, scope)}"
                return True
            if scheme == "basic" and self._credentials and self._credentials.username:
                self._header = _basic(self._credentials)
                return self._header != before
        return False

    def _token(self, session: requests.Session, parameters: dict[str, str], scope: str) -> str:
        realm = parameters["realm"]
        self._refuse_unsafe(realm)
        asked = {"service": parameters.get("service", ""), "scope": scope}
        mine = self._credentials
        if mine and mine.identity_token:
            form = asked | {
                "grant_type": "refresh_token",
                "client_id": "packager",
                "refresh_token": mine.identity_token,
            }
            answer = session.post(
                realm, data=form, auth=_no_auth, timeout=_SECONDS, allow_redirects=False
            )
        else:
            headers = {"Authorization": _basic(mine)} if mine and mine.username else {}
            answer = session.get(
                realm,
                params=asked,
                headers=headers,
                auth=_no_auth,
                timeout=_SECONDS,
                allow_redirects=False,
            )
        try:
            told = answer.json() if answer.ok else {}
            token = told.get("token") or told.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token:
            raise UnavailableError(
                "the registry's token service gives no token",
                where=realm,
                got=f"HTTP {answer.status_code}",
                next_step="log in again: docker login",
            )
        return token

    def _refuse_unsafe(self, realm: str) -> None:
        parts = urlsplit(realm)
        if parts.scheme == "https" or self._plain_http or is_loopback(parts.netloc):
            return
        raise UnavailableError(
            "the registry asks for credentials over a connection without TLS",
            where=self._origin,
            expected="a token service at https://",
            got=realm[:200],
        )


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """`Bearer realm="…",service="…", Basic realm="…"` as schemes with their parameters."""
    starts = [
        found
        for found in _SCHEME.finditer(header)
        if header.count('"', 0, found.start()) % 2 == 0  # not within a quoted value
    ]
    ends = [found.start() for found in starts[1:]] + [len(header)]
    return [
        (
            found[1].lower(),
            {name.lower(): value for name, value in _PARAMETER.findall(header[found.end() : end])},
        )
        for found, end in zip(starts, ends, strict=True)
    ]


def _basic(credentials: Credentials) -> str:
    return _basic_auth_str(credentials.username.encode(), credentials.password.encode())


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from looking into ~/.netrc."""
    return request
