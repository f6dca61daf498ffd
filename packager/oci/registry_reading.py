"""Reads one repository of a registry: manifests within a bound, blobs as streams."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import requests

from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import InputError, UnavailableError, VerificationError
from packager.oci.reference import Reference
from packager.oci.registry_client import Repository

_ATTEMPTS = 5  # without a byte in between
_ACCEPTED = f"{MediaType.MANIFEST}, {MediaType.INDEX}"


@dataclass(frozen=True, slots=True)
class ImageName:
    """`registry/repository:tag`, `registry/repository@sha256:…`, or both: the digest counts."""

    reference: Reference
    digest: Digest | None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Raises InputError for anything else."""
        named, at, digest = text.partition("@")
        try:
            found = Digest.parse(digest) if at else None
        except ValueError:
            raise InputError(
                "not the digest of an image",
                where=text[:200],
                expected="registry/repository@sha256:… with 64 hexadecimal digits",
            ) from None
        tagged = ":" in named.rpartition("/")[2]
        return cls(Reference.parse(named if tagged or not found else f"{named}:by-digest"), found)

    @property
    def key(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return str(self.digest) if self.digest else self.reference.tag

    @property
    def repository(self) -> str:
        """`registry/repository`"""
        return f"{self.reference.host}/{self.reference.repository}"


class RemoteImages:
    """A repository as `attest.image_store.ImageStore`. A context manager."""

    def __init__(
        self, name: ImageName, *, plain_http: bool = False, certificates: Path | None = None
    ) -> None:
        self._repository = Repository(
            name.reference, plain_http=plain_http, certificates=certificates, writing=False
        )
        self._name = name.repository

    def __enter__(self) -> RemoteImages:
        return self

    def __exit__(self, *_: object) -> None:
        self._repository.__exit__()

    @property
    def location(self) -> str:
        return self._name

    def manifest(self, name: str, limit: int) -> bytes | None:
        """Under a tag or digest, at most one byte more than `limit`; None when there is none."""
        return self._document(f"manifests/{name}", limit)

    def referrers(self, digest: Digest, limit: int) -> bytes | None:
        """By the referrers API, else under the fallback tag (distribution-spec 1.1)."""
        found = self._document(f"referrers/{digest}", limit)
        return found if found is not None else self.manifest(f"sha256-{digest.hex}", limit)

    @contextmanager
    def blob(self, digest: Digest) -> Iterator[BinaryIO]:
        """A blob as it comes; it can seek. Raises VerificationError when the registry has none,
        UnavailableError when the connection breaks again and again."""
        with contextlib.closing(_RemoteBlob(self._repository, digest, self._name)) as blob:
            blob.connect()
            yield io.BufferedReader(blob, 1 << 20)

    def _document(self, path: str, limit: int) -> bytes | None:
        answer = self._repository.open(path, (200, 404, 400, 405), _ACCEPTED)
        with contextlib.closing(answer):
            if answer.status_code != 200:
                return None
            return RemoteBody.buffered(answer, self._name).read(limit + 1)


class RemoteBody(io.RawIOBase):
    """The body of an answer; a broken connection is told as what it is."""

    def __init__(self, answer: requests.Response, where: str) -> None:
        self._answer = answer
        self._where = where

    @classmethod
    def buffered(cls, answer: requests.Response, where: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(cls(answer, where), 1 << 20))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            # As much as came, since a longer read would lose it when the connection breaks.
            raw = self._answer.raw
            data = getattr(raw, "read1", raw.read)(len(buffer))  # urllib3 1 has no read1
        except Exception as error:  # urllib3 has many
            raise UnavailableError(
                "the registry broke off", where=self._where, got=f"{type(error).__name__}: {error}"
            ) from error
        buffer[: len(data)] = data
        return len(data)


class _RemoteBlob(io.RawIOBase):
    """A blob read on from where it broke off, or from where it is asked for: by a range, or past
    all that comes before where a registry knows of no ranges."""

    def __init__(self, repository: Repository, digest: Digest, where: str) -> None:
        self._repository = repository
        self._digest = digest
        self._where = where
        self._position = 0
        self._answer: requests.Response | None = None

    def connect(self) -> RemoteBody:
        """The rest from the position on."""
        if self._answer is None:
            path, wanted = f"blobs/{self._digest}", (200, 206, 404, 416)
            self._answer = self._repository.open(
                path, wanted, "application/octet-stream", self._position
            )
            if self._answer.status_code == 404:
                raise VerificationError(
                    "the registry does not have this blob", where=str(self._digest)
                )
            if self._answer.status_code == 416:  # nothing is there any more
                return RemoteBody(self._answer, self._where)
            if self._answer.status_code == 200:
                self._skip(RemoteBody(self._answer, self._where), self._position)
        return RemoteBody(self._answer, self._where)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """From the start or from the position; where a blob ends is not known here."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("from the end")
        position = offset + (self._position if whence == io.SEEK_CUR else 0)
        if position != self._position:
            self._hang_up()
            self._position = position
        return position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        for left in reversed(range(_ATTEMPTS)):
            try:
                body = self.connect()
                ended = self._answer is not None and self._answer.status_code == 416
                count = 0 if ended else body.readinto(buffer)
                self._position += count
                return count
            except UnavailableError:
                self._hang_up()
                if not left:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        self._hang_up()
        super().close()

    @staticmethod
    def _skip(body: RemoteBody, count: int) -> None:
        buffer = memoryview(bytearray(min(count, 1 << 20)))
        while count > 0 and (read := body.readinto(buffer[: min(count, len(buffer))])):
            count -= read

    def _hang_up(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
