"""A large blob on its way up in pieces, taken up again where the registry has it after a failure.

distribution-spec 1.1, "Pushing a blob in chunks": each piece is a PATCH with its range, the answer
says where the next one goes; what arrived before a failure is asked for with a GET, and "Range"
tells it. A registry that has forgotten the upload gets the blob from the start, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import IO, Any, Protocol
from urllib.parse import urljoin

import requests

PIECE = 32 << 20
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class Exchange(Protocol):
    """One request to the registry; raises for every status that is not expected."""

    def __call__(
        self, step: str, method: str, url: str, expected: tuple[int, ...], **options: Any
    ) -> requests.Response: ...


class ForgottenUpload(Exception):
    """The registry knows nothing of the upload any more."""


class ChunkedUpload:
    """An upload that was opened at `url`. `advance` may be called again after a failure."""

    def __init__(self, exchange: Exchange, step: str, url: str, size: int) -> None:
        self._exchange = exchange
        self._step = step
        self._size = size
        self.url = url
        self._there = 0
        self._in_doubt = False

    def advance(self, stream: IO[bytes], sent: Callable[[int], None]) -> None:
        """Send what the registry lacks of `stream`, which can seek; `sent` is told what arrived.

        Raises ForgottenUpload, and what the exchange raises.
        """
        if self._in_doubt:
            self._ask(sent)
        while self._there < self._size:
            stream.seek(self._there)
            piece = stream.read(min(PIECE, self._size - self._there))
            end = self._there + len(piece)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{self._there}-{end - 1}",
            }
            self._in_doubt = True
            answer = self._exchange(
                self._step, "PATCH", self.url, (202, 404, 416), data=piece, headers=headers
            )
            if answer.status_code != 202:
                before = self._there
                self._ask(sent, refused_at=before)
                if self._there == before:  # it wants neither this piece nor another one
                    sent(-before)
                    raise ForgottenUpload
                continue
            self._in_doubt = False
            self._moved(answer, end, sent)

    def _ask(self, sent: Callable[[int], None], refused_at: int | None = None) -> None:
        answer = self._exchange(self._step, "GET", self.url, (204, 200, 404))
        if answer.status_code == 404:
            sent(-self._there)
            raise ForgottenUpload
        found = _RANGE.fullmatch(answer.headers.get("Range", ""))
        there = int(found[1]) + 1 if found else 0
        if there == 1 and refused_at != 0:
            there = 0  # "0-0" is also said of an upload without a byte; if wrong, it will refuse
        if there > self._size:
            sent(-self._there)
            raise ForgottenUpload
        self._in_doubt = False
        self._moved(answer, there, sent)

    def _moved(self, answer: requests.Response, there: int, sent: Callable[[int], None]) -> None:
        sent(there - self._there)
        self._there = there
        if location := answer.headers.get("Location"):
            self.url = urljoin(answer.url, location)
