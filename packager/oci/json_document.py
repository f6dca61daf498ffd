"""Reads JSON that others wrote (manifests, indexes, configurations) and trusts none of it.

Size and depth are bounded, duplicate keys are refused (two readers could see two documents), and
every access says what type it expects. What does not fit raises VerificationError with the
document's name and the key path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from packager.digest import Digest
from packager.domain.artifact import Descriptor, Platform
from packager.errors import VerificationError

MAX_BYTES = 4 << 20  # distribution-spec, "Pushing Manifests": registries take at least 4 MiB
_MAX_BLOB = 1 << 48


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object and where it stands."""

    values: Mapping[str, Any]
    where: str

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self.values.get(key, default)
        return value if isinstance(value, str) else self._refuse(key, "a string", value)

    def whole(self, key: str) -> int:
        """A whole number of bytes or the like, at least 0."""
        value = self.values.get(key)
        if type(value) is int and 0 <= value < _MAX_BLOB:
            return value
        return self._refuse(key, "a whole number", value)

    def digest(self, key: str) -> Digest:
        """A SHA-256 digest; other algorithms are not written by us and are refused."""
        return self._parse_digest(key, self.text(key))

    def child(self, key: str) -> Document:
        """An object."""
        value = self.values.get(key)
        if isinstance(value, dict):
            return Document(value, f"{self.where}: {key}")
        return self._refuse(key, "an object", value)

    def optional_child(self, key: str) -> Document | None:
        """An object, or None when the key is absent."""
        return self.child(key) if key in self.values else None

    def children(self, key: str) -> list[Document]:
        """A list of objects."""
        return [
            Document(value, f"{self.where}: {key}[{number}]")
            if isinstance(value, dict)
            else self._refuse(f"{key}[{number}]", "an object", value)
            for number, value in enumerate(self._list(key))
        ]

    def digests(self, key: str) -> list[Digest]:
        """A list of SHA-256 digests."""
        return [
            self._parse_digest(f"{key}[{number}]", value)
            for number, value in enumerate(self._list(key))
        ]

    def texts(self, key: str) -> dict[str, str]:
        """An object of strings, such as annotations; empty when absent."""
        value = self.values.get(key, {})
        if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            return value
        return self._refuse(key, "an object of strings", value)

    def descriptor(self) -> Descriptor:
        """This object as a content descriptor (image-spec, "Content Descriptors")."""
        return Descriptor(
            self.text("mediaType"),
            self.digest("digest"),
            self.whole("size"),
            annotations=self.texts("annotations"),
            platform=self._platform(),
            artifact_type=self.text("artifactType") if "artifactType" in self.values else None,
        )

    def _platform(self) -> Platform | None:
        platform = self.optional_child("platform")
        if platform is None:
            return None
        return Platform(
            platform.text("os"), platform.text("architecture"), platform.text("variant", "")
        )

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key)
        return value if isinstance(value, list) else self._refuse(key, "a list", value)

    def _parse_digest(self, key: str, value: object) -> Digest:
        try:
            return Digest.parse(value if isinstance(value, str) else "")
        except ValueError:
            return self._refuse(key, "sha256: and 64 hexadecimal digits", value)

    def _refuse(self, key: str, expected: str, got: object) -> NoReturn:
        raise VerificationError(
            "a document of the image layout is not as the OCI specification says",
            where=f"{self.where}: {key}",
            expected=expected,
            got=f"{got!r:.80}",
            next_step="get the release again from where it was built",
        )


def parse(data: bytes, where: str) -> Document:
    """A JSON object from `data`; raises VerificationError when it is anything else."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise VerificationError(
            "a document of the image layout is not sound JSON",
            where=where,
            got=str(error)[:200],
            next_step="get the release again from where it was built",
        ) from error
    if not isinstance(value, dict):
        raise VerificationError(
            "a document of the image layout is not a JSON object", where=where, got=f"{value!r:.80}"
        )
    return Document(value, where)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
