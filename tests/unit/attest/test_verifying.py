"""The tamper matrix: every probe is refused by the step that is there for it, and by name."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from inner_faults import BOMB, FAULTS, ZSTD_BOMB, Fault
from small_release import SmallRelease, make_release
from tampering import PROBES, Probe

from packager import decompression, release_source
from packager.attest import layout_check
from packager.attest.keys import generate_key, read_public_key
from packager.attest.step_runner import MAX_FINDINGS
from packager.attest.verifying import verify
from packager.domain.artifact import MediaType
from packager.errors import InputError, VerificationError


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def release(pristine, tmp_path) -> SmallRelease:
    """A copy to do harm to."""
    folder = tmp_path / "site" / "release"
    shutil.copytree(pristine.folder, folder)
    return replace(pristine, folder=folder)


def refusal(release: SmallRelease, *, contents: bool = False) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        verify(release.folder, release.public, contents=contents)
    assert caught.value.exit_code == 4
    assert all(finding.next_step for finding in caught.value.findings)
    return caught.value


def steps_of(error: VerificationError) -> set[int]:
    told = [finding.what for finding in error.findings if finding.what.startswith("step ")]
    return {int(what.split(",")[0].removeprefix("step ")) for what in told}


def test_an_untouched_release_is_accepted(release):
    report = verify(release.folder, release.public)
    assert [step.number for step in report.steps] == list(range(1, 12))
    assert report.targets == ("de/x86-64-v3/kubernetes", "sa/x86-64-v3/compose")
    described = report.as_dict()
    assert described["verified"] is True
    assert described["release"]["version"] == "1.4.0"
    counts = {step.title: dict(step.counts) for step in report.steps}
    assert counts["images"] == {"images": 2, "layers": 4, "unpacked": 0}
    assert counts["image signatures"] == {"signatures": 4}
    assert counts["attestations"] == {"attestations": 20}


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_every_probe_is_refused(release, probe: Probe):
    probe.harm(release)
    error = refusal(release)
    assert probe.step in steps_of(error)
    told = [f for f in error.findings if f.what.startswith(f"step {probe.step},")]
    assert any(probe.where in (finding.where or "") for finding in told), told


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_valid_signature_excuses_nothing(tmp_path, pristine, fault: Fault, monkeypatch):
    monkeypatch.setattr(decompression, "PLAIN_FLOOR", 1 << 20)
    release = fault.make(tmp_path, pristine.key_file)
    error = refusal(release, contents=fault.contents)
    told = [f for f in error.findings if f.what.startswith(f"step {fault.step},")]
    assert any(fault.what in f"{finding.what} {finding.got}" for finding in told), error.findings


def test_layers_are_unpacked_only_when_asked(release, monkeypatch):
    """All bytes are as signed, so whoever lacks the key has no part in them: docs/adr/0051."""
    unpacked = []
    real = layout_check.plain_digest

    def watched(blob, size, media_type):
        unpacked.append(media_type)
        return real(blob, size, media_type)

    monkeypatch.setattr(layout_check, "plain_digest", watched)
    assert verify(release.folder, release.public).contents is False
    assert unpacked == []
    report = verify(release.folder, release.public, contents=True)
    assert report.as_dict()["contents"] is True
    counted = {step.title: step.counts for step in report.steps}["images"]
    assert counted["unpacked"] == len(unpacked) > 0
    assert set(unpacked) == {MediaType.LAYER_GZIP}


@pytest.mark.parametrize("bomb", [BOMB, ZSTD_BOMB], ids=["gzip", "zstd"])
def test_a_bomb_of_somebody_without_the_key_is_never_unpacked(release, bomb, monkeypatch):
    """It is no layer of the signed list, whatever it says; it is hashed, and that is all."""
    monkeypatch.setattr(layout_check, "plain_digest", None)
    layer = release.blob(release.built[0].image.layers[0].descriptor.digest)
    layer.unlink()
    layer.write_bytes(bomb)
    error = refusal(release, contents=True)
    assert steps_of(error) == {6}
    assert layer.name in (error.findings[0].where or "")


def test_a_device_is_refused(release):
    import os
    import stat

    try:
        os.mknod(release.folder / "evidence/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making devices needs root")
    (finding,) = refusal(release).findings
    assert (finding.where, "character device" in finding.what) == ("evidence/null", True)


def test_another_key_is_refused_and_both_keys_are_named(release, tmp_path):
    other = read_public_key(generate_key(tmp_path / "other.pem", None).public)
    with pytest.raises(VerificationError) as caught:
        verify(release.folder, other)
    (finding,) = caught.value.findings
    assert finding.what.startswith("step 2, signature")
    assert other.fingerprint in (finding.expected or "")
    assert release.public.fingerprint in (finding.got or "")


def test_all_harm_is_told_at_once(release):
    (release.folder / "one").write_bytes(b"")
    (release.folder / "two").symlink_to("one")
    (release.folder / "evidence/sbom/sa-x86-64-v3-compose.cdx.json").write_bytes(b"{}")
    (release.folder / "checksums.txt").write_bytes(b"")
    error = refusal(release)
    assert {finding.where for finding in error.findings} == {
        "one",
        "two",
        "evidence/sbom/sa-x86-64-v3-compose.cdx.json",
        "checksums.txt",
    }
    assert steps_of(error) == {5, 6, 7}


def test_a_flood_of_findings_is_cut(release):
    for number in range(3 * MAX_FINDINGS):
        (release.folder / f"extra-{number}").write_bytes(b"")
    error = refusal(release)
    assert len(error.findings) == MAX_FINDINGS + 1
    assert "more findings" in error.findings[-1].what


def test_nothing_but_three_files_is_opened_before_the_signature(release, monkeypatch):
    opened = []
    real = release_source.open_plain

    def watching(path):
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(release_source, "open_plain", watching)
    (release.folder / "release.sig").write_bytes(b"\x30\x06\x02\x01\x01\x02\x01\x01")
    refusal(release)
    assert opened == ["release.json", "release.sigstore.json", "release.sig"]


def test_a_file_that_changes_after_hashing_is_not_read(release, monkeypatch):
    """Between the digests and the reading of the index, somebody writes another index."""
    from packager.attest import verifying

    real = verifying.check_checksums

    def check(signed):
        counts = real(signed)
        path = release.folder / "images/index.json"
        path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
        return counts

    monkeypatch.setattr(verifying, "check_checksums", check)
    error = refusal(release)
    assert steps_of(error) == {8, 9, 10}
    assert all(finding.where == "images/index.json" for finding in error.findings)


def test_a_link_to_the_release_folder_may_be_given(release, tmp_path):
    (tmp_path / "current").symlink_to(release.folder)
    assert verify(tmp_path / "current", release.public).name == "filetype"


@pytest.mark.parametrize("name", ["missing", "file"])
def test_no_folder_is_an_input_error(tmp_path, release, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError):
        verify(tmp_path / name, release.public)


def test_an_empty_folder_misses_its_seal(tmp_path, release):
    with pytest.raises(VerificationError) as caught:
        verify(tmp_path, release.public)
    assert {finding.where for finding in caught.value.findings} == {
        "release.json",
        "release.sigstore.json",
        "release.sig",
    }
