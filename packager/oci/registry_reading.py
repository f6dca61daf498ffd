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
        """A blob as it comes. Raises VerificationError when the registry has none, UnavailableError
        also when the connection breaks."""
        answer = self._repository.open(f"blobs/{digest}", (200, 404), "application/octet-stream")
        with contextlib.closing(answer):
            if answer.status_code == 404:
                raise VerificationError("the registry does not have this blob", where=str(digest))
            yield RemoteBody.buffered(answer, self._name)

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
