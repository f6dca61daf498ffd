"""No step of the verification is there for show: without it, something passes that must not.

Each step in turn is replaced by one that checks nothing. For steps 3 to 11 at least one probe is
then accepted outright. Step 1 only bounds what is read, and what step 2 asks step 4 asks again with
the keys that the root names; there the refusal moves to the later step, after more was believed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inner_faults import FAULTS
from small_release import SmallRelease, make_release
from tampering import PROBES

from packager.attest import layout_check, root, verifying
from packager.attest.root import Root, parse_root
from packager.attest.signed_release import Seal
from packager.attest.trust import TrustPolicy
from packager.canonical import dumps
from packager.errors import VerificationError
from packager.release_source import FolderSource


def _read_anything(source: FolderSource) -> Seal:
    names = (root.ROOT, root.BUNDLE, root.RAW_SIGNATURE)
    return Seal(*((source.folder / name).read_bytes() for name in names))


def _parse_anything(seal: Seal) -> Root:
    return parse_root(dumps(json.loads(seal.root)))


def _believe_anything(source: FolderSource, seal: Seal, trust: TrustPolicy) -> Any:
    return trust.usable


def _pass(*_: Any, **__: Any) -> dict[str, int]:
    return {}


def _nothing(*_: Any) -> None:
    return None


DOWNGRADE = "a newer one is installed"

# step → name in `verifying`, what replaces it, the probe that then passes
MUTANTS: dict[int, tuple[str, Callable[..., Any], str]] = {
    1: ("read_seal", _read_anything, "root too long"),
    2: ("check_signature", _believe_anything, "changed root, old signatures"),
    3: ("read_document", _parse_anything, "root not canonical"),
    4: ("check_standing", _pass, DOWNGRADE),
    5: ("check_closed_world", _pass, "add file"),
    6: ("check_digests", _pass, "flip SBOM"),
    7: ("check_checksums", _pass, "flip checksums"),
    8: ("check_layout", _pass, "docker manifest of another image"),
    9: ("check_image_signatures", _pass, "image not signed"),
    10: ("check_attestations", _pass, "image without SBOM"),
    11: ("check_manifests", _pass, "manifest by tag"),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("pristine"))


def trust_in(release: SmallRelease, probe: str) -> TrustPolicy:
    policy = TrustPolicy.of(release.public)
    return replace(policy, minimum={"filetype": 200004000009}) if probe == DOWNGRADE else policy


def harmed(name: str, pristine: SmallRelease, base: Path) -> SmallRelease:
    if name == DOWNGRADE:
        return pristine
    for fault in FAULTS:
        if fault.name == name:
            return fault.make(base, pristine.key_file)
    (probe,) = (probe for probe in PROBES if probe.name == name)
    folder = base / "copy" / "release"
    shutil.copytree(pristine.folder, folder)
    release = replace(pristine, folder=folder)
    probe.harm(release)
    return release


def test_every_step_has_a_mutant(pristine):
    report = verifying.verify(pristine.folder, pristine.public)
    assert [step.number for step in report.steps] == sorted(MUTANTS)


@pytest.mark.parametrize("step", sorted(set(MUTANTS) - {1, 2}))
def test_without_the_step_harm_is_accepted(step, pristine, tmp_path, monkeypatch):
    name, mutant, probe = MUTANTS[step]
    release = harmed(probe, pristine, tmp_path)
    trust = trust_in(release, probe)
    with pytest.raises(VerificationError, match=f"step {step},"):
        verifying.verify(release.folder, trust)
    monkeypatch.setattr(verifying, name, mutant)
    assert verifying.verify(release.folder, trust)


def test_without_unpacking_a_lie_about_contents_is_accepted(pristine, tmp_path, monkeypatch):
    release = harmed("layer unpacks to another", pristine, tmp_path)

    def told() -> str:
        with pytest.raises(VerificationError) as caught:
            verifying.verify(release.folder, release.public, contents=True)
        return " ".join(finding.what for finding in caught.value.findings)

    assert "step 8, images: the layer unpacks to something else" in told()
    monkeypatch.setattr(layout_check, "content_finding", _nothing)
    assert "unpacks" not in told()


@pytest.mark.parametrize(("step", "later"), [(1, 3), (2, 4)])
def test_without_the_first_steps_more_is_believed(step, later, pristine, tmp_path, monkeypatch):
    name, mutant, probe = MUTANTS[step]
    release = harmed(probe, pristine, tmp_path)
    with pytest.raises(VerificationError, match=f"step {step},"):
        verifying.verify(release.folder, release.public)
    monkeypatch.setattr(verifying, name, mutant)
    with pytest.raises(VerificationError, match=f"step {later},"):
        verifying.verify(release.folder, release.public)
