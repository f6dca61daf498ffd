"""Bytes that nobody vouches for, in every parser that meets them before or without a signature.

Whatever comes in, each answers with a value or with its own error: no other exception, no hang, no
memory beyond its bound. Seeds are real documents with pieces cut, doubled, swapped and changed, as
a fuzzer would; PACKAGER_FUZZ_EXAMPLES asks for more than the ordinary run takes.
"""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import make_bundle
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from memory_registry import MemoryRegistry
from memory_source import MemorySource
from small_release import SmallRelease, make_release

from packager.attest import base64_text, bounded_json, dsse, root, sigstore
from packager.attest.claims import bundled_statement, classic_statement, signed_claim
from packager.attest.image_verifying import verify_image
from packager.attest.keys import PublicKey, generate_key, open_signer, read_public_key
from packager.attest.layout_index import Member, manifest_document
from packager.attest.statement import Statement
from packager.attest.trust import TrustPolicy
from packager.attest.trust_statements import open_revocations, open_rotation, revocation_list
from packager.attest.verifying import verify
from packager.bundle.document import BundleDocument
from packager.bundle.parts_document import PartsDocument
from packager.bundle.reading import BundleSource
from packager.bundle.recipe import Recipe, Run
from packager.carrying import Listing
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import InputError, PackagerError, VerificationError
from packager.oci.json_document import parse as parse_document

EXAMPLES = int(os.environ.get("PACKAGER_FUZZ_EXAMPLES", "60"))
MEMORY = 64 << 20
FUZZED = settings(
    max_examples=EXAMPLES,
    deadline=5000,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def key(release) -> PublicKey:
    return release.public


@pytest.fixture(scope="module")
def seeds(release, tmp_path_factory) -> list[bytes]:
    """A real document of each kind."""
    folder = release.folder
    pair = generate_key(tmp_path_factory.mktemp("keys") / "k.pem", None)
    blobs = folder / "images/blobs/sha256"
    small = [path.read_bytes() for path in blobs.iterdir() if path.stat().st_size < 20_000]
    return [
        *((folder / name).read_bytes() for name in sorted(root.UNLISTED)),
        (folder / "images/index.json").read_bytes(),
        revocation_list(open_signer(str(pair.private), {}), 1, [], [Digest.of(b"x")]),
        read_public_key(pair.public).der,
        *_carried(folder),
        *small[:12],
    ]


def _carried(folder: Path) -> list[bytes]:
    """The documents of a stick: a bundle's, and what of an old file goes into a new one."""
    listing = Listing.parse((folder / root.ROOT).read_bytes())
    document = BundleDocument.of(listing, tuple(listing.images))
    runs = (Run(Digest.of(b"old"), 7, 100), Run(None, 0, 28))
    return [document.as_bytes(), Recipe(Digest.of(b"new"), 128, runs).as_bytes()]


@st.composite
def mutated(draw: Callable, seeds: list[bytes]) -> bytes:
    """A seed after a few changes, or bytes of no form at all."""
    data = draw(
        st.one_of(
            st.sampled_from(seeds),
            st.binary(max_size=300),
            st.text('[]{}":,0eE-\\u \n', max_size=300).map(str.encode),
            st.integers(1, 50_000).map(lambda depth: b"[" * depth),
            st.integers(1, 50_000).map(lambda depth: b'{"a":' * depth),
            st.integers(1, 50_000).map(lambda length: b"9" * length),
            st.integers(1, 9_000).map(lambda count: b"[" + b"{}," * count + b"{}]"),
        )
    )
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 64))
        piece = data[start : start + length]
        data = draw(
            st.sampled_from(
                [
                    data[:start] + data[start + length :],
                    data[:start] + piece + data[start:],
                    data[:start] + piece[::-1] + data[start + length :],
                    data[:start] + bytes([draw(st.integers(0, 255))]) + data[start + 1 :],
                    data[:start],
                ]
            )
        )
    return data


def answers(parser: Callable[[], object], *expected: type[Exception]) -> None:
    """A value or one of the errors that it promises, within the bound of memory."""
    tracemalloc.start()
    try:
        parser()
    except expected:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY


@FUZZED
@given(data=st.data())
def test_parsers_of_signed_documents(seeds, key, data):
    raw = data.draw(mutated(seeds))
    member = Member(MediaType.MANIFEST, Digest.of(raw), len(raw), {})
    for parser in (
        lambda: bounded_json.loads(raw, limit=1 << 20),
        lambda: root.parse_root(raw),
        lambda: sigstore.verify_message(raw, b"data", key),
        lambda: sigstore.verify_dsse(raw, key, limit=1 << 20),
        lambda: sigstore.hint_of(raw),
        lambda: Statement.parse(raw),
        lambda: PublicKey.of_der(raw),
        lambda: base64_text.decode(raw.decode("latin-1")),
        lambda: open_rotation(raw, [key], "here"),
        lambda: open_revocations(raw, [key], "here"),
        lambda: key.verify(raw, b"data"),
        lambda: signed_claim(raw, {}, key),
        lambda: classic_statement(raw, {}, key),
        lambda: bundled_statement(raw, {}, Digest.of(b""), key),
        lambda: dsse.open_envelope(_json_or_text(raw), key),
        lambda: manifest_document(_object(raw), member),
        lambda: BundleDocument.parse(raw, "here"),
        lambda: PartsDocument.parse(raw, "here"),
        lambda: Recipe.parse(raw, "here"),
        lambda: Listing.parse(raw),
    ):
        answers(parser, ValueError, VerificationError)
    answers(lambda: PublicKey.of_pem(raw, "here"), InputError)
    answers(lambda: parse_document(raw, "here").descriptor(), PackagerError)


@settings(FUZZED, max_examples=max(20, EXAMPLES // 3))
@given(data=st.data())
def test_a_source_that_holds_anything(release, seeds, key, data):
    """Any file of a release replaced: refused, and by nothing but a VerificationError."""
    entries = dict(MemorySource.of_folder(release.folder).entries)
    name = data.draw(st.sampled_from(sorted(entries)))
    changed = data.draw(mutated(seeds))
    if changed == entries[name]:
        return
    source = MemorySource(tuple((entries | {name: changed}).items()))
    with pytest.raises(VerificationError):
        verify(source, key)


@settings(FUZZED, max_examples=max(20, EXAMPLES // 3))
@given(data=st.data())
def test_a_bundle_of_anything(release, bundle, seeds, key, data):
    """Opened and verified in place: whatever the file holds, a VerificationError and no other."""
    whole = bundle.read_bytes()
    changed = data.draw(mutated([whole, whole[:4096], *seeds]))
    if changed == whole:
        return
    path = bundle.with_name("changed.tar")
    path.write_bytes(changed)
    with pytest.raises(VerificationError):
        verify(BundleSource.at(path), key)


@pytest.fixture(scope="module")
def bundle(release, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "release.tar"
    make_bundle(release, path)
    return path


@pytest.fixture(scope="module")
def registry(release) -> MemoryRegistry:
    return MemoryRegistry.of(release.folder / "images", release.built[0].image)


@settings(FUZZED, max_examples=max(20, EXAMPLES // 3))
@given(data=st.data())
def test_a_registry_that_answers_anything(release, registry, seeds, key, data):
    """Refused, or believed for what it was before: the lists of signatures and of referrers are
    signed by nobody, so parts of them that nobody reads may be anything."""
    digest = str(release.built[0].image.manifest.digest)
    places = [
        (place, name)
        for place in ("manifests", "blobs", "index")
        for name in sorted(getattr(registry, place))
    ]
    place, name = data.draw(st.sampled_from(places))
    changed = data.draw(mutated(seeds))
    harmed = replace(registry, **{place: getattr(registry, place) | {name: changed}})
    trust = TrustPolicy.of(key)
    expected = verify_image(registry, digest, trust)
    try:
        report = verify_image(harmed, digest, trust)
    except VerificationError:
        return
    assert (report.subject, report.keys) == (expected.subject, expected.keys)
    if place == "blobs" and changed != registry.blobs[name]:
        assert name in _unread(registry)


def _unread(registry: MemoryRegistry) -> set[str]:
    """The placeholders of configurations that artifacts have, which say nothing."""
    manifests = [json.loads(data) for data in registry.manifests.values()]
    artifacts = [it for it in manifests if it["config"]["mediaType"] == MediaType.EMPTY]
    classic = [
        it
        for it in manifests
        if it["layers"][0]["mediaType"] in (MediaType.SIMPLE_SIGNING, MediaType.DSSE)
    ]
    return {it["config"]["digest"] for it in artifacts + classic}


def _json_or_text(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw


def _object(raw: bytes) -> dict:
    found = bounded_json.loads(raw, limit=1 << 20)
    return found if isinstance(found, dict) else {}
