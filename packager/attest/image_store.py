"""One repository of a registry, which nobody vouches for, and how documents are read from it.

Everything is read within a bound that is known before; what comes is compared with the descriptor
that named it. All functions raise VerificationError, and UnavailableError when there is no answer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol

from packager.attest.bounded_json import load_object
from packager.attest.layout_index import MAX_JSON, ManifestDocument, Member, manifest_document
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError

MAX_SIGNATURES = 64


class ImageStore(Protocol):
    """One repository of a registry, believed by nobody. All methods raise UnavailableError."""

    @property
    def location(self) -> str:
        """`registry.example.de/ml/filetype`"""

    def manifest(self, name: str, limit: int) -> bytes | None:
        """The manifest under a tag or digest; one byte more than `limit` when it is longer; None
        when there is none."""

    def blob(self, digest: Digest) -> AbstractContextManager[BinaryIO]:
        """A blob's bytes as the registry sends them. May be called from several threads."""

    def referrers(self, digest: Digest, limit: int) -> bytes | None:
        """The image index of what refers to `digest`; None when the registry knows of nothing."""


def read_artifact(store: ImageStore, tag: str, missing: str) -> ManifestDocument:
    data = store.manifest(tag, MAX_JSON)
    if data is None:
        raise VerificationError(missing, where=f"{store.location}:{tag}")
    member = Member(MediaType.MANIFEST, Digest.of(data), len(data), {})
    document = manifest_document(parse_object(bounded(data, tag), tag), member)
    if not 0 < len(document.layers) <= MAX_SIGNATURES:
        raise VerificationError(missing, where=f"{store.location}:{tag}", got="no or too many")
    return document


def read_claim(store: ImageStore, layer: Member, media_type: str, limit: int) -> bytes:
    if layer.media_type != media_type:
        raise VerificationError(
            "something else stands where signatures are looked for",
            where=str(layer.digest),
            expected=media_type,
            got=layer.media_type[:100],
        )
    return read_blob(store, layer, limit)


def read_blob(store: ImageStore, member: Member, limit: int) -> bytes:
    """A small blob of exactly its size and digest."""
    where = str(member.digest)
    if member.size > limit:
        raise VerificationError(
            "it is too long for what it is", where=where, expected=f"at most {limit} bytes"
        )
    pieces = bytearray()
    with store.blob(member.digest) as stream:
        while len(pieces) <= member.size and (piece := stream.read(member.size + 1 - len(pieces))):
            pieces += piece
    data = bytes(pieces)
    if len(data) != member.size or Digest.of(data) != member.digest:
        raise VerificationError("the registry gave other bytes", where=where)
    return data


def bounded(data: bytes | None, where: str) -> bytes:
    if data is None:
        raise VerificationError("there is no such image", where=where)
    if len(data) > MAX_JSON:
        raise VerificationError("it is too long", where=where, expected=f"at most {MAX_JSON} bytes")
    return data


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    try:
        return load_object(data, limit=MAX_JSON)
    except ValueError as error:
        raise VerificationError("it cannot be understood", where=where, got=str(error)) from None
