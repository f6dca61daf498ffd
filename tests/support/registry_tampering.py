"""What can be done to an image in a registry: probes, each with the step that must refuse it.

Whoever runs the registry gives what they like under any name; they have no key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from memory_registry import MemoryRegistry

from packager.attest.statement import QUALITY
from packager.domain.artifact import MediaType


@dataclass(frozen=True)
class Probe:
    """`harm` changes the registry; step `step` must refuse the image, by its digest."""

    name: str
    step: int
    harm: Callable[[MemoryRegistry, str], None]

    def __str__(self) -> str:
        return self.name


def sig(digest: str) -> str:
    return f"sha256-{digest.removeprefix('sha256:')}.sig"


def att(digest: str) -> str:
    return f"sha256-{digest.removeprefix('sha256:')}.att"


def flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def in_manifest(name: Callable[[str], str], change) -> Callable[[MemoryRegistry, str], None]:
    return lambda registry, digest: registry.edit(name(digest), change)


def blob_of(name: Callable[[str], str], number: int = 0):
    """The digest of a layer of an artifact."""

    def find(registry: MemoryRegistry, digest: str) -> str:
        return json.loads(registry.manifests[name(digest)])["layers"][number]["digest"]

    return find


def config_of(registry: MemoryRegistry, digest: str) -> str:
    return json.loads(registry.manifests[digest])["config"]["digest"]


def layer(number: int):
    return blob_of(lambda digest: digest, number)


def bundle_of(registry: MemoryRegistry, digest: str) -> str:
    entry = json.loads(registry.index[digest])["manifests"][0]["digest"]
    return json.loads(registry.manifests[entry])["layers"][0]["digest"]


def on_blob(find, change: Callable[[bytes], bytes]) -> Callable[[MemoryRegistry, str], None]:
    def harm(registry: MemoryRegistry, digest: str) -> None:
        name = find(registry, digest)
        registry.blobs[name] = change(registry.blobs[name])

    return harm


def on_referrer(change: Callable[[bytes], bytes]) -> Callable[[MemoryRegistry, str], None]:
    def harm(registry: MemoryRegistry, digest: str) -> None:
        name = json.loads(registry.index[digest])["manifests"][0]["digest"]
        registry.manifests[name] = change(registry.manifests[name])

    return harm


def drop(name: Callable[[str], str]) -> Callable[[MemoryRegistry, str], None]:
    return lambda registry, digest: registry.manifests.pop(name(digest))


def put(name: Callable[[str], str], data: bytes) -> Callable[[MemoryRegistry, str], None]:
    return lambda registry, digest: registry.manifests.update({name(digest): data})


def swap_layers(registry: MemoryRegistry, digest: str) -> None:
    first, second = layer(0)(registry, digest), layer(1)(registry, digest)
    blobs = registry.blobs
    blobs[first], blobs[second] = blobs[second], blobs[first]


def same(digest: str) -> str:
    return digest


DEEP = b"[" * 100_000
LONG = b" " * (5 << 20)
PROBES = (
    # a flipped bit in each kind of thing
    Probe(
        "flip manifest",
        1,
        lambda it, name: it.manifests.update({name: flipped(it.manifests[name])}),
    ),
    Probe(
        "flip signature manifest",
        2,
        lambda it, name: it.manifests.update({sig(name): flipped(it.manifests[sig(name)])}),
    ),
    Probe("flip payload", 2, on_blob(blob_of(sig), flipped)),
    Probe("flip config", 3, on_blob(config_of, flipped)),
    Probe(
        "flip attestation manifest",
        4,
        lambda it, name: it.manifests.update({att(name): flipped(it.manifests[att(name)])}),
    ),
    Probe("flip attestation", 4, on_blob(blob_of(att), flipped)),
    Probe("flip last attestation", 4, on_blob(blob_of(att, -1), flipped)),
    Probe("flip referrer", 4, on_referrer(flipped)),
    Probe("flip bundle", 4, on_blob(bundle_of, flipped)),
    Probe("flip gzip layer", 6, on_blob(layer(0), flipped)),
    Probe("flip model layer", 6, on_blob(layer(1), flipped)),
    # truncation, growth, removal
    Probe(
        "truncate manifest",
        1,
        lambda it, name: it.manifests.update({name: it.manifests[name][:99]}),
    ),
    Probe("truncate payload", 2, on_blob(blob_of(sig), lambda data: data[:9])),
    Probe("truncate layer", 6, on_blob(layer(1), lambda data: data[:-1])),
    Probe("longer layer", 6, on_blob(layer(1), lambda data: data + b"x")),
    Probe("longer config", 3, on_blob(config_of, lambda data: data + b" ")),
    Probe("empty layer", 6, on_blob(layer(0), lambda data: b"")),
    Probe("remove manifest", 1, drop(same)),
    Probe("strip signature", 2, drop(sig)),
    Probe("strip attestations", 4, drop(att)),
    Probe(
        "remove referrer",
        4,
        lambda it, name: it.manifests.pop(json.loads(it.index[name])["manifests"][0]["digest"]),
    ),
    # media types and shapes
    Probe("manifest is an index", 1, put(same, b'{"schemaVersion":2}')),
    Probe(
        "signature of another type",
        2,
        in_manifest(sig, lambda it: it["layers"][0].update(mediaType=MediaType.DSSE)),
    ),
    Probe(
        "attestation of another type",
        4,
        in_manifest(att, lambda it: it["layers"][0].update(mediaType=MediaType.SIMPLE_SIGNING)),
    ),
    Probe(
        "attestation under a false label",
        4,
        in_manifest(
            att, lambda it: it["layers"][0]["annotations"].update(predicateType=QUALITY + "x")
        ),
    ),
    Probe("no signatures in the list", 2, in_manifest(sig, lambda it: it.update(layers=[]))),
    Probe(
        "endless signatures", 2, in_manifest(sig, lambda it: it.update(layers=it["layers"] * 65))
    ),
    Probe(
        "payload that says it is huge",
        2,
        in_manifest(sig, lambda it: it["layers"][0].update(size=1 << 40)),
    ),
    Probe(
        "payload of a wrong size", 2, in_manifest(sig, lambda it: it["layers"][0].update(size=7))
    ),
    Probe(
        "digest that is a path",
        2,
        in_manifest(sig, lambda it: it["layers"][0].update(digest="sha256:../../etc/passwd")),
    ),
    Probe("signature nested too deep", 2, put(sig, DEEP)),
    Probe("signature too long", 2, put(sig, LONG)),
    Probe("manifest too long", 1, put(same, LONG)),
    Probe("attestations nested too deep", 4, put(att, DEEP)),
    Probe("referrers nested too deep", 4, lambda it, name: it.index.update({name: DEEP})),
    Probe("referrers too long", 4, lambda it, name: it.index.update({name: LONG})),
    Probe("referrers no list", 4, lambda it, name: it.index.update({name: b'{"manifests":{}}'})),
    Probe("signature is no object", 2, put(sig, b"17")),
    # swapping
    Probe("swap two layers", 6, swap_layers),
)
