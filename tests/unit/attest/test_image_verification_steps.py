"""No step of verifying an image in a registry is there for show: without it, harm is accepted."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from memory_registry import MemoryRegistry
from small_release import SmallRelease, make_release

from packager.attest import image_verifying
from packager.attest.image_verifying import verify_image
from packager.attest.trust import TrustPolicy
from packager.digest import Digest
from packager.errors import VerificationError


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def registry(release) -> MemoryRegistry:
    return copy.deepcopy(MemoryRegistry.of(release.folder / "images", release.built[0].image))


def _any_manifest(store: MemoryRegistry, name: str) -> bytes:
    return store.manifests[name]


def _all_keys(store: Any, digest: Digest, repository: str, trust: TrustPolicy) -> Any:
    return trust.usable


def _unpaired(store: MemoryRegistry, data: bytes, digest: Digest) -> Any:
    """The document without looking whether the registry gave the configuration that it names."""
    image = image_verifying.manifest_document(
        json.loads(data), image_verifying.Member("", digest, len(data), {})
    )
    return image, json.loads(store.blobs[str(image.config.digest)])


def _nothing(*_: Any, **__: Any) -> dict[str, int]:
    return {}


def other_manifest(registry: MemoryRegistry, digest: str) -> None:
    """Asked for by a digest, the registry gives another image of the same maker, whole."""
    registry.manifests[f"sha256:{'0' * 64}"] = registry.manifests[digest]


def unsigned(registry: MemoryRegistry, digest: str) -> None:
    del registry.manifests[f"sha256-{digest.removeprefix('sha256:')}.sig"]


def other_config(registry: MemoryRegistry, digest: str) -> None:
    name = json.loads(registry.manifests[digest])["config"]["digest"]
    registry.blobs[name] = registry.blobs[name].replace(b"65532", b"00000")


def fewer_attestations(registry: MemoryRegistry, digest: str) -> None:
    def drop(manifest: dict[str, Any]) -> None:
        kept = [it for it in manifest["layers"] if "slsa" in it["annotations"]["predicateType"]]
        manifest["layers"] = kept

    registry.edit(f"sha256-{digest.removeprefix('sha256:')}.att", drop)
    registry.index.clear()


def untouched(registry: MemoryRegistry, digest: str) -> None:
    pass


def other_layer(registry: MemoryRegistry, digest: str) -> None:
    name = json.loads(registry.manifests[digest])["layers"][1]["digest"]
    registry.blobs[name] = registry.blobs[name].replace(b"weights", b"WEIGHTS")


# step → name in `image_verifying`, what replaces it, the harm that then passes
MUTANTS: dict[int, tuple[str, Callable[..., Any], Callable[[MemoryRegistry, str], None]]] = {
    1: ("read_manifest", _any_manifest, other_manifest),
    2: ("check_signatures", _all_keys, unsigned),
    3: ("read_document", _unpaired, other_config),
    4: ("check_complete", _nothing, fewer_attestations),
    5: ("check_image_standing", _nothing, untouched),
    6: ("check_layers", _nothing, other_layer),
}


def test_every_step_has_a_mutant(release, registry):
    digest = str(release.built[0].image.manifest.digest)
    report = verify_image(registry, digest, TrustPolicy.of(release.public))
    assert [step.number for step in report.steps] == sorted(MUTANTS)


@pytest.mark.parametrize("step", sorted(MUTANTS))
def test_without_the_step_harm_is_accepted(step, release, registry, monkeypatch):
    name, mutant, harm = MUTANTS[step]
    digest = str(release.built[0].image.manifest.digest)
    trust = TrustPolicy.of(release.public)
    if step == 5:
        trust = replace(trust, minimum={"filetype": 200004000009})
    harm(registry, digest)
    asked = f"sha256:{'0' * 64}" if step == 1 else digest
    with pytest.raises(VerificationError, match=f"step {step},"):
        verify_image(registry, asked, trust)
    monkeypatch.setattr(image_verifying, name, mutant)
    assert verify_image(registry, asked, trust)


def test_attestations_are_looked_at_one_by_one(release, registry, monkeypatch):
    """The other half of step 4: without it, a flipped byte in a bundle is accepted."""
    digest = str(release.built[0].image.manifest.digest)
    trust = TrustPolicy.of(release.public)
    real = image_verifying.read_attestations(registry, Digest.parse(digest), trust)
    entry = json.loads(registry.index[digest])["manifests"][0]["digest"]
    bundle = json.loads(registry.manifests[entry])["layers"][0]["digest"]
    registry.blobs[bundle] = registry.blobs[bundle][::-1]
    with pytest.raises(VerificationError, match="step 4,"):
        verify_image(registry, digest, trust)
    monkeypatch.setattr(image_verifying, "read_attestations", lambda *_: real)
    assert verify_image(registry, digest, trust)
