"""An image in a registry: every probe is refused by its step, and nothing is believed too early."""

from __future__ import annotations

import copy
import gzip
import json
from dataclasses import replace

import pytest
import zstandard
from memory_registry import MemoryRegistry
from registry_tampering import PROBES, att, blob_of, config_of, sig
from small_release import SmallRelease, artifacts_of, evidence_of, make_release

from packager import decompression
from packager.attest.cosign import attestation_artifact, signature_artifact
from packager.attest.image_verifying import verify_image
from packager.attest.keys import generate_key, open_signer, read_public_key
from packager.attest.statement import QUALITY
from packager.attest.trust import TrustPolicy
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError

TAG = "1.4.0-de-x86-64-v3-kubernetes"


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def pushed(release) -> MemoryRegistry:
    return MemoryRegistry.of(release.folder / "images", release.built[0].image)


@pytest.fixture
def registry(pushed) -> MemoryRegistry:
    """A copy to do harm to."""
    return copy.deepcopy(pushed)


@pytest.fixture(scope="module")
def digest(release) -> str:
    return str(release.built[0].image.manifest.digest)


@pytest.fixture(scope="module")
def other(release, tmp_path_factory) -> MemoryRegistry:
    """The same target of another release by the same maker."""
    base = tmp_path_factory.mktemp("other")
    made = make_release(base, version="1.3.0", key_file=release.key_file)
    return MemoryRegistry.of(made.folder / "images", made.built[0].image)


def refusal(registry, name, trust, **options) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        verify_image(registry, name, trust, **options)
    assert caught.value.exit_code == 4
    assert all(finding.next_step for finding in caught.value.findings)
    return caught.value


def test_accepted_by_digest_and_by_tag(registry, digest, release):
    trust = TrustPolicy.of(release.public)
    for name in (digest, TAG):
        report = verify_image(registry, name, trust)
        assert report.subject == f"registry.example.de/ml/filetype@{digest}"
        assert (report.name, report.version, report.counter) == ("filetype", "1.4.0", 100004000009)
        assert [step.number for step in report.steps] == list(range(1, 7))
        counts = {step.title: dict(step.counts) for step in report.steps}
        assert counts["attestations"] == {"attestations": 10}
        assert counts["layers"]["layers"] == 3


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_every_probe_is_refused(registry, digest, release, probe):
    probe.harm(registry, digest)
    error = refusal(registry, digest, TrustPolicy.of(release.public))
    assert error.findings[0].what.startswith(f"step {probe.step},"), error.findings


def test_another_key_is_refused(registry, digest, tmp_path):
    key = read_public_key(generate_key(tmp_path / "o.pem", None).public)
    assert "step 2" in refusal(registry, digest, TrustPolicy.of(key)).findings[0].what


def test_a_revoked_key_and_a_revoked_image_are_refused(registry, digest, release):
    trust = TrustPolicy.of(release.public)
    revoked = replace(trust, revoked_keys=frozenset({release.public.fingerprint}))
    assert "step 2" in refusal(registry, digest, revoked).findings[0].what
    image = replace(trust, revoked_releases=frozenset({Digest.parse(digest)}))
    assert "step 5" in refusal(registry, digest, image).findings[0].what


def test_an_older_image_is_refused(registry, digest, release):
    trust = TrustPolicy.of(release.public)
    older = replace(trust, minimum={"filetype": 100005000009})
    assert "downgrade" in refusal(registry, digest, older).findings[0].what


def test_a_tag_moved_to_an_older_image_is_seen_by_its_counter(registry, other, release):
    registry.manifests |= other.manifests
    registry.blobs |= other.blobs
    registry.index |= other.index
    registry.manifests[TAG] = other.manifests["1.3.0-de-x86-64-v3-kubernetes"]
    trust = replace(TrustPolicy.of(release.public), minimum={"*": 100004000009})
    assert "step 5" in refusal(registry, TAG, trust).findings[0].what


def test_the_signature_of_another_image_is_refused(registry, other, digest, release):
    (name,) = (name for name in other.manifests if name.endswith(".sig"))
    registry.manifests[sig(digest)] = other.manifests[name]
    registry.blobs |= other.blobs
    error = refusal(registry, digest, TrustPolicy.of(release.public))
    assert "about another image" in error.findings[0].what


def test_the_attestations_of_another_image_are_refused(registry, other, digest, release):
    (name,) = (name for name in other.manifests if name.endswith(".att"))
    registry.manifests[att(digest)] = other.manifests[name]
    registry.blobs |= other.blobs
    error = refusal(registry, digest, TrustPolicy.of(release.public))
    assert "step 4" in error.findings[0].what


def test_in_a_mirror_the_repository_is_named(registry, digest, release):
    mirror = replace(registry, location="mirror.example.de/copies/filetype")
    trust = TrustPolicy.of(release.public)
    assert "for another repository" in refusal(mirror, digest, trust).findings[0].what
    assert verify_image(mirror, digest, trust, repository=registry.location)


def test_a_foreign_signature_beside_ours_is_refused(registry, digest, release, tmp_path):
    thief = open_signer(str(generate_key(tmp_path / "t.pem", None).private), {})
    foreign = signature_artifact(release.built[0].image, registry.location, thief)
    registry.blobs |= {str(name): data for name, data in foreign.blobs}
    layers = json.loads(foreign.manifest)["layers"]
    registry.edit(sig(digest), lambda it: it["layers"].extend(layers))
    assert "step 2" in refusal(registry, digest, TrustPolicy.of(release.public)).findings[0].what


def test_evidence_that_is_not_whole_is_refused(registry, digest, release):
    evidence = evidence_of(release.built[0], release.request)
    del evidence[QUALITY]
    fewer = attestation_artifact(release.built[0].image, evidence, release.signer)
    registry.blobs |= {str(name): data for name, data in fewer.blobs}
    registry.manifests[att(digest)] = fewer.manifest
    registry.index.clear()
    error = refusal(registry, digest, TrustPolicy.of(release.public))
    assert error.findings[0].expected == QUALITY


def test_without_referrers_the_classic_form_is_enough(registry, digest, release):
    registry.index.clear()
    assert verify_image(registry, digest, TrustPolicy.of(release.public))


def signed_image(release, registry, media_type: str, blob: bytes, plain: bytes) -> str:
    """An image of one layer, validly signed and attested."""
    from small_release import SmallRelease

    assert isinstance(release, SmallRelease)
    config = json.loads(
        registry.blobs[config_of(registry, str(release.built[0].image.manifest.digest))]
    )
    config["rootfs"]["diff_ids"] = [str(Digest.of(plain))]
    data = dumps(config)
    manifest = dumps(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": {
                "mediaType": MediaType.CONFIG,
                "digest": str(Digest.of(data)),
                "size": len(data),
            },
            "layers": [
                {"mediaType": media_type, "digest": str(Digest.of(blob)), "size": len(blob)}
            ],
        }
    )
    descriptor = replace(
        release.built[0].image.manifest, digest=Digest.of(manifest), size=len(manifest)
    )
    built = replace(release.built[0], image=replace(release.built[0].image, manifest=descriptor))
    registry.blobs |= {str(Digest.of(data)): data, str(Digest.of(blob)): blob}
    registry.manifests[str(descriptor.digest)] = manifest
    for artifact in artifacts_of(built, release.request, release.signer)[:2]:
        registry.blobs |= {str(name): text for name, text in artifact.blobs}
        registry.manifests[artifact.tag] = artifact.manifest
    return str(descriptor.digest)


@pytest.mark.parametrize(
    ("media_type", "blob", "plain", "told"),
    [
        (MediaType.LAYER_GZIP, gzip.compress(bytes(8 << 20), 9), bytes(8 << 20), "unpacks to more"),
        (MediaType.LAYER_GZIP, gzip.compress(b"x"), b"y", "something else"),
        (MediaType.LAYER_GZIP, b"no gzip", b"no gzip", "cannot be unpacked"),
        (MediaType.LAYER_TAR, b"x", b"y", "something else"),
        (MediaType.LAYER_ZSTD, b"x", b"x", "cannot be unpacked"),
        (
            MediaType.LAYER_ZSTD,
            zstandard.ZstdCompressor(19).compress(bytes(8 << 20)),
            bytes(8 << 20),
            "unpacks to more",
        ),
    ],
    ids=["bomb", "another", "no gzip", "plain", "zstd", "zstd bomb"],
)
def test_a_valid_signature_excuses_nothing(
    registry, release, media_type, blob, plain, told, monkeypatch
):
    monkeypatch.setattr(decompression, "PLAIN_FLOOR", 1 << 20)
    name = signed_image(release, registry, media_type, blob, plain)
    trust = TrustPolicy.of(release.public)
    (finding,) = refusal(registry, name, trust, contents=True).findings
    assert finding.what.startswith("step 6")
    assert told in f"{finding.what} {finding.got}"


def test_layers_are_unpacked_only_when_asked(registry, release):
    packed = gzip.compress(b"x", mtime=0)
    name = signed_image(release, registry, MediaType.LAYER_GZIP, packed, b"y")
    trust = TrustPolicy.of(release.public)
    report = verify_image(registry, name, trust)
    assert report.as_dict()["contents"] is False
    assert report.steps[-1].counts["unpacked"] == 0
    assert "something else" in refusal(registry, name, trust, contents=True).findings[0].what
    registry.blobs[str(Digest.of(packed))] = gzip.compress(bytes(8 << 20), 9)
    for contents in (False, True):
        error = refusal(registry, name, trust, contents=contents)
        assert error.findings[0].what == "step 6, layers: the size differs"


def test_nothing_but_signatures_is_read_before_one_is_right(registry, digest, tmp_path):
    key = read_public_key(generate_key(tmp_path / "o.pem", None).public)
    refusal(registry, digest, TrustPolicy.of(key))
    assert registry.read == [digest, sig(digest), blob_of(sig)(registry, digest)]
