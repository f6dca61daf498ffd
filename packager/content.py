"""What goes into an image, told before a byte is written.

`assemble` describes layers with these values, `oci` writes them. A layer's entries are made only
when they are needed: a layer whose `key` is known already is taken from the store as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from packager.archive import Entry
from packager.digest import Digest


class Compression(StrEnum):
    """How a layer's tar is stored. Weights are stored plain: they do not compress."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class LayerContent:
    """One layer to be.

    `kind`: system, python, provider, gpu-…, runtime, model or configuration, most shared first;
    each kind once in an image. `key` is the digest of everything that the entries are made from
    (locked digests, rules, files), so equal keys mean equal layers. `created_by` is the history
    line of the image configuration.
    """

    kind: str
    key: Digest
    compression: Compression
    created_by: str
    entries: Callable[[], Iterable[Entry]]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """image-spec, "Image Configuration", `config`: how the image starts.

    `environment` as NAME → value, `ports` as `8080/tcp`, `user` as numeric `uid:gid`.
    """

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    working_dir: str
    ports: tuple[str, ...]
    labels: Mapping[str, str]
