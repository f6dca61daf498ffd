"""The built-in hardware: sources, proof, wheels that exist, and reasons where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.assemble.recipe import requirements
from packager.catalogue import Catalogue, load_catalogue
from packager.catalogue.selecting import HardwareFilter, known_words
from packager.domain.hardware import HardwareProfile, Proof
from packager.domain.provider_wheel import driver_needed, objections, phones_home
from packager.errors import InputError

CATALOGUE = load_catalogue()
ALL = [CATALOGUE.hardware(name) for name in CATALOGUE.hardware_ids()]
PACKAGED = [profile for profile in ALL if not profile.unpackaged]
UNPACKAGED = [profile for profile in ALL if profile.unpackaged]


def test_there_are_forty_and_more() -> None:
    assert len(ALL) >= 40
    assert len(PACKAGED) >= 15
    assert len(UNPACKAGED) >= 15


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.id)
def test_every_profile_says_where_it_is_from_and_claims_no_proof(profile: HardwareProfile) -> None:
    # What was proven: benchmarks/optimize/results and benchmarks/assemble/gpu_proof.
    proven = {"nvidia-h200-sxm-141-cuda13": Proof.MEASURED}
    assert profile.proven is proven.get(profile.id, Proof.NEVER)
    assert (profile.proven is Proof.NEVER) == (profile.proven_where is None)
    assert profile.sources
    assert (profile.export_class is None) == (profile.accelerator is None)
    if profile.export_class:
        assert "computed, no legal classification" in profile.export_class


@pytest.mark.parametrize("profile", PACKAGED, ids=lambda profile: profile.id)
def test_what_is_not_refused_the_assembler_knows(profile: HardwareProfile) -> None:
    assert objections(profile) == ()
    assert profile.wheel.name in ("onnxruntime", "onnxruntime-gpu")
    assert f"{profile.wheel.name}=={profile.wheel.version}" in requirements(profile.wheel)
    assert not phones_home(profile.wheel)
    if needed := driver_needed(profile.wheel):
        assert profile.accelerator is not None
        assert int(profile.accelerator.driver_floor or 0) >= needed


@pytest.mark.parametrize("profile", UNPACKAGED, ids=lambda profile: profile.id)
def test_what_cannot_be_packaged_is_refused_with_its_own_reason(profile: HardwareProfile) -> None:
    (objection,) = objections(profile)
    assert objection.why == profile.unpackaged
    assert "wheel of your own" in objection.remedy


def _own(folder: Path, text: str) -> Catalogue:
    (folder / "hardware").mkdir()
    head = "apiVersion: packager/v1\nkind: Hardware\nid: ours\nname: Ours\n"
    tail = "confidence: low\nsources: [here]\n"
    (folder / "hardware/ours.yaml").write_text(head + text + tail)
    return load_catalogue(folder)


def test_a_reason_is_inherited_until_a_nearer_profile_names_a_wheel(tmp_path: Path) -> None:
    parent = CATALOGUE.hardware("hailo-8")
    assert _own(tmp_path, "extends: hailo-8\n").hardware("ours").unpackaged == parent.unpackaged


def test_a_wheel_of_ones_own_sets_the_reason_aside(tmp_path: Path) -> None:
    text = "extends: amd-mi300x\nwheel: {name: our-onnxruntime, version: 1.0.0}\n"
    ours = _own(tmp_path, text).hardware("ours")
    assert ours.unpackaged is None
    assert objections(ours) == ()


def test_no_wheel_needs_a_reason(tmp_path: Path) -> None:
    text = (
        "platform: linux/amd64\nexecution_provider: none\nprecisions: {fp32: unknown}\n"
        "memory_gb: 1\ndeployment_platforms: [compose]\n"
    )
    with pytest.raises(InputError, match="wheel"):
        _own(tmp_path, text).hardware("ours")


@pytest.mark.parametrize(
    ("wanted", "some", "never"),
    [
        (HardwareFilter(vendor="nvidia"), "nvidia-l4", "amd-mi300x"),
        (HardwareFilter(architecture="arm64"), "arm64-v8", "x86-64-v3"),
        (HardwareFilter(provider="cuda"), "nvidia-l4", "x86-64-v3"),
        (HardwareFilter("NVIDIA", "arm64", "CUDAExecutionProvider"), "nvidia-gh200", "nvidia-l4"),
    ],
)
def test_filters(wanted: HardwareFilter, some: str, never: str) -> None:
    found = {profile.id for profile in wanted.of(ALL)}
    assert some in found
    assert never not in found


def test_no_filter_takes_all() -> None:
    assert HardwareFilter().of(ALL) == ALL


def test_a_filter_that_nothing_matches_is_answered_with_the_words_that_there_are() -> None:
    told = known_words(ALL)
    for word in ("nvidia", "hailo", "cuda", "qnn"):
        assert word in told
    for part in told.split("; "):
        option, _, words = part.partition(" ")
        one = words.split(", ")[0]
        key = "vendor" if option == "--vendor" else "provider"
        assert HardwareFilter(**{key: one}).of(ALL)
