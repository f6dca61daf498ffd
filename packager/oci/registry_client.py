"""One repository of a registry, as far as pushing needs it (distribution-spec 1.1, "Push").

Blobs go up whole, as a stream, after asking whether the registry has them; manifests by tag or by
digest. What may pass by itself (a dropped connection, 429, 5xx) is tried again with growing pauses;
everything else ends in an UnavailableError that names the registry and the step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import requests

from packager.digest import CHUNK, Digest
from packager.domain.artifact import MediaType, Openable
from packager.errors import UnavailableError
from packager.oci.chunked_upload import PIECE, ChunkedUpload, ForgottenUpload
from packager.oci.credentials import find_credentials
from packager.oci.reference import Reference
from packager.oci.registry_access import Access

_SECONDS = (10, 120)  # to connect, and between two pieces of an answer
_ATTEMPTS = 4
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 4
_PASSING = (429, 500, 502, 503, 504)
_Result = TypeVar("_Result")
Sent = Callable[[int], None]


class _Passing(Exception):
    """A failure that may pass by itself; `pause` in seconds where the registry asks for one."""

    def __init__(self, got: str, pause: float | None = None) -> None:
        super().__init__(got)
        self.pause = pause


class Repository:
    """A repository that we push to. A context manager that closes its connections."""

    def __init__(
        self,
        reference: Reference,
        *,
        plain_http: bool = False,
        certificates: Path | None = None,
        writing: bool = True,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plain_http = plain_http or reference.on_loopback
        self._name = f"{reference.host}/{reference.repository}"
        self._origin = f"{'http' if self._plain_http else 'https'}://{reference.api_host}"
        self._base = f"{self._origin}/v2/{reference.repository}"
        self._scope = f"repository:{reference.repository}:{'pull,push' if writing else 'pull'}"
        self._writing = writing
        self._pause = pause
        self._access = Access(
            self._origin, find_credentials(reference.host), plain_http=self._plain_http
        )
        self._session = requests.Session()
        self._session.auth = self._access
        # Loopback is never behind a proxy; elsewhere the user's proxy settings count.
        self._session.trust_env = not reference.on_loopback
        self._session.headers["User-Agent"] = "packager"
        if certificates:
            self._session.verify = str(certificates)

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def ping(self) -> None:
        """Ask whether a registry of the v2 protocol answers and lets us in."""
        self._send("say that it is there", "GET", f"{self._origin}/v2/", (200,))

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository holds the blob already. A redirect says yes, too."""
        url = f"{self._base}/blobs/{digest}"
        found = self._send(f"look for blob {digest}", "HEAD", url, (200, 307, 404))
        return found.status_code != 404

    def push_blob(
        self,
        digest: Digest,
        size: int,
        blob: Openable | bytes,
        sent: Sent,
        *,
        mount_from: str | None = None,
    ) -> None:
        """Upload a blob of `size` bytes unless it is there; `sent` is told what went up.

        `mount_from` is another repository of the registry that is known to hold it: where the
        registry allows, not a byte is sent.
        """
        if self.has_blob(digest):
            sent(size)
            return
        step = f"upload blob {digest}"
        if isinstance(blob, bytes) or size <= PIECE:
            self._persist(step, lambda: self._upload(step, digest, size, blob, sent, mount_from))
            return
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(ForgottenUpload):
                self._upload_in_pieces(step, digest, size, blob, sent, mount_from)
                return
        raise self._failed(step, "the registry forgets the upload again and again")

    def push_manifest(self, reference: str, data: bytes, media_type: str) -> bool:
        """PUT a manifest under a tag or digest; whether the registry keeps track of its subject."""
        step = f"push manifest {reference}"
        answer = self._send(
            step,
            "PUT",
            f"{self._base}/manifests/{reference}",
            (201,),
            data=data,
            headers={"Content-Type": media_type},
        )
        told = answer.headers.get("Docker-Content-Digest")
        if told not in (None, str(Digest.of(data))):
            raise self._failed(step, f"the registry stored it as {told}")
        return "OCI-Subject" in answer.headers

    def pull_index(self, tag: str) -> bytes | None:
        """The image index under a tag; None when there is none."""
        url = f"{self._base}/manifests/{tag}"
        headers = {"Accept": MediaType.INDEX}
        answer = self._send(f"read index {tag}", "GET", url, (200, 404), headers=headers)
        return None if answer.status_code == 404 else answer.content

    def open(
        self, path: str, expected: tuple[int, ...], accepted: str, offset: int = 0
    ) -> requests.Response:
        """GET something below the repository, unread; a redirect is followed, without credentials
        when it leads to another host, as registries send to their storage.

        With `offset` the rest from there is asked for; a registry may answer 206 with it, or 200
        with all.
        """
        step = f"read {path}"
        headers = {"Accept": accepted, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        options: dict[str, Any] = {"headers": headers, "stream": True}
        wanted = (*expected, *_REDIRECTS)
        answer = self._send(step, "GET", f"{self._base}/{path}", wanted, **options)
        for _ in range(_MAX_REDIRECTS):
            if answer.status_code not in _REDIRECTS:
                return answer
            url = urljoin(answer.url, answer.headers.get("Location", ""))
            answer.close()
            if urlsplit(url).scheme != "https" and not self._plain_http:
                raise self._failed(step, "the registry sends us away from TLS")
            options["auth"] = self._access if url.startswith(f"{self._origin}/") else _anonymous
            answer = self._send(step, "GET", url, wanted, **options)
        raise self._failed(step, "the registry sends us around in circles")

    def _upload_in_pieces(
        self,
        step: str,
        digest: Digest,
        size: int,
        blob: Openable,
        sent: Sent,
        mount_from: str | None,
    ) -> None:
        url = self._persist(step, lambda: self._opened(step, digest, mount_from))
        if url is None:
            sent(size)
            return
        upload = ChunkedUpload(self._exchange_safely, step, url, size)
        with blob.open("rb") as stream:
            self._persist(step, lambda: upload.advance(stream, sent))
        closed = _with_digest(upload.url, digest)
        self._persist(step, lambda: self._exchange_safely(step, "PUT", closed, (201, 204)))

    def _exchange_safely(
        self, step: str, method: str, url: str, expected: tuple[int, ...], **options: Any
    ) -> requests.Response:
        self._require_tls(step, url)
        return self._exchange(step, method, url, expected, **options)

    def _require_tls(self, step: str, url: str) -> None:
        if urlsplit(url).scheme != "https" and not self._plain_http:
            raise self._failed(step, "the registry asks for an upload without TLS")

    def _opened(self, step: str, digest: Digest, mount_from: str | None) -> str | None:
        """Where the upload goes; None when the registry mounted the blob from elsewhere."""
        mount = {"mount": str(digest), "from": mount_from} if mount_from else {}
        opened = self._exchange(
            step, "POST", f"{self._base}/blobs/uploads/", (201, 202), params=mount
        )
        if opened.status_code == 201 and mount:
            return None
        url = urljoin(opened.url, opened.headers.get("Location", ""))
        self._require_tls(step, url)
        return url

    def _upload(
        self,
        step: str,
        digest: Digest,
        size: int,
        blob: Openable | bytes,
        sent: Sent,
        mount_from: str | None,
    ) -> None:
        """distribution-spec, "POST then PUT", or "Mounting a blob from another repository"."""
        opened = self._opened(step, digest, mount_from)
        if opened is None:
            sent(size)
            return
        url = _with_digest(opened, digest)
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(blob, bytes):
            self._exchange(step, "PUT", url, (201, 204), data=blob, headers=headers)
            sent(size)
            return
        with blob.open("rb") as stream:
            body = _Body(stream, size, sent)
            self._exchange(step, "PUT", url, (201, 204), data=body, headers=headers)

    def _send(
        self, step: str, method: str, url: str, expected: tuple[int, ...], **options: Any
    ) -> requests.Response:
        return self._persist(step, lambda: self._exchange(step, method, url, expected, **options))

    def _persist(self, step: str, action: Callable[[], _Result]) -> _Result:
        """Do it, again while the failure may pass, and not for ever."""
        pause = _FIRST_PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return action()
            except _Passing as passing:
                if attempt == _ATTEMPTS:
                    raise self._failed(step, f"{passing} ({attempt} attempts)") from passing
                self._pause(min(passing.pause or pause, _LONGEST_PAUSE))
                pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _exchange(
        self, step: str, method: str, url: str, expected: tuple[int, ...], **options: Any
    ) -> requests.Response:
        """One request; a second one when the registry wants to know who asks."""
        answer = self._request(step, method, url, options)
        if answer.status_code == 401:
            challenge = answer.headers.get("WWW-Authenticate", "")
            if not self._learn(challenge):
                raise self._failed(step, "HTTP 401: the registry wants other credentials")
            if isinstance(options.get("data"), _Body):
                raise _Passing("HTTP 401 during an upload")  # its stream has been read
            answer = self._request(step, method, url, options)
        if answer.status_code in expected:
            return answer
        if answer.status_code in _PASSING:
            raise _Passing(_told(answer), _asked_pause(answer.headers))
        raise self._failed(step, _told(answer))

    def _request(
        self, step: str, method: str, url: str, options: Mapping[str, Any]
    ) -> requests.Response:
        try:
            return self._session.request(
                method, url, timeout=_SECONDS, allow_redirects=False, **options
            )
        except requests.exceptions.SSLError as error:
            raise self._failed(step, f"no trusted TLS connection: {error}") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _Passing(f"{type(error).__name__}: {error}") from error
        except requests.RequestException as error:
            raise self._failed(step, f"{type(error).__name__}: {error}") from error

    def _learn(self, challenge: str) -> bool:
        try:
            return self._access.answer(self._session, challenge, self._scope)
        except requests.RequestException as error:
            raise _Passing(f"token service: {type(error).__name__}") from error

    def _failed(self, step: str, got: str) -> UnavailableError:
        if not self._writing:
            return UnavailableError(
                f"the registry did not give it: {step}",
                where=self._name,
                got=got[:400],
                next_step="check its address, `docker login`, and your right to pull",
            )
        return UnavailableError(
            f"the registry did not take it: {step}",
            where=self._name,
            got=got[:400],
            next_step="check its address, `docker login`, and your right to push; then push again",
        )


def _with_digest(url: str, digest: Digest) -> str:
    """The address that ends an upload."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode({'digest': str(digest)})}"


class _Body:
    """A file on its way up, telling how far it is. Its length lets requests send Content-Length.

    It has no `read`: whatever has one is sent in pieces of 16 KiB, 64 for each MiB.
    """

    def __init__(self, stream: IO[bytes], size: int, sent: Sent) -> None:
        self._stream = stream
        self._size = size
        self._sent = sent

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while data := self._stream.read(CHUNK):
            self._sent(len(data))
            yield data


def _anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Asks without credentials, whatever the session has."""
    request.headers.pop("Authorization", None)
    return request


def _told(answer: requests.Response) -> str:
    """The status and the registry's own words (distribution-spec, "Error Codes")."""
    return f"HTTP {answer.status_code} {answer.text[:200]}".strip()


def _asked_pause(headers: Mapping[str, str]) -> float | None:
    told = headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else None
