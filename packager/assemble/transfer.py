"""Reads one file from a mirror, bounded in size, time and redirects.

Whatever a mirror does wrong (no connection, a redirect loop, half a file, an error page) becomes an
UnavailableError that names the file. What the bytes are worth is for the caller to check.
"""

from __future__ import annotations

import io
import threading
from typing import BinaryIO

import requests

from packager.assemble.mirror import Mirror
from packager.digest import CHUNK
from packager.errors import UnavailableError

_CONNECT_SECONDS = 15
_READ_SECONDS = 60
_REDIRECTS = 5
_sessions = threading.local()


class Missing(UnavailableError):
    """The mirror answers, and says that it does not have the file."""


def download(mirror: Mirror, path: str, target: BinaryIO, *, limit: int) -> int:
    """Write the file at `path` under the mirror's root to `target`; returns its size in bytes.

    Raises Missing for 404 and 410, UnavailableError for everything else that goes wrong, and also
    when more than `limit` bytes come or fewer than the mirror announced.
    """
    where = f"{path} on {mirror}"
    try:
        with _session().get(
            mirror.url(path),
            stream=True,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            headers={"Accept-Encoding": "identity"},
        ) as answer:
            if answer.status_code in (404, 410):
                raise Missing("the mirror does not have the file", where=where)
            if answer.status_code != 200:
                raise _unavailable(where, f"HTTP status {answer.status_code}")
            size = _copy(answer, target, limit, where)
            announced = answer.headers.get("Content-Length", "")
    except requests.TooManyRedirects as error:
        raise _unavailable(where, f"more than {_REDIRECTS} redirects") from error
    except requests.ConnectionError as error:
        raise _unavailable(where, f"no connection ({type(error).__name__})") from error
    except requests.Timeout as error:
        raise _unavailable(where, f"no answer within {_READ_SECONDS} s") from error
    except requests.RequestException as error:
        raise _unavailable(where, type(error).__name__) from error
    if announced.isdecimal() and int(announced) != size:
        raise _unavailable(where, f"{size} bytes of the {announced} that it announced")
    return size


def read(mirror: Mirror, path: str, *, limit: int) -> bytes:
    """The file at `path` as bytes; raises as `download` does."""
    buffer = io.BytesIO()
    download(mirror, path, buffer, limit=limit)
    return buffer.getvalue()


def _copy(answer: requests.Response, target: BinaryIO, limit: int, where: str) -> int:
    size = 0
    for chunk in answer.iter_content(CHUNK):
        size += len(chunk)
        if size > limit:
            raise _unavailable(where, f"more than the {limit} bytes that were expected")
        target.write(chunk)
    return size


def _unavailable(where: str, got: str) -> UnavailableError:
    return UnavailableError(
        "the mirror did not deliver the file",
        where=where,
        got=got,
        next_step="try again, or name another mirror with --mirror",
    )


def _session() -> requests.Session:
    """One session a thread: sessions keep connections and are not safe to share."""
    session: requests.Session | None = getattr(_sessions, "session", None)
    if session is None:
        session = requests.Session()
        session.max_redirects = _REDIRECTS
        _sessions.session = session
    return session
