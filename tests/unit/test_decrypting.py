"""A release with encrypted models: verified without the key, opened with it, and only with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_release import artifacts_of, encrypted_targets, make_release

from packager.attest.keys import generate_key
from packager.attest.verifying import verify
from packager.decrypting import decrypt
from packager.digest import Digest
from packager.domain.trust import TrustFiles
from packager.errors import VerificationError
from packager.oci.encryption import plain_manifest
from packager.oci.layout import read_layout
from packager.pipeline import bundle
from packager.progress import SILENT


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encrypted")
    for name in ("site", "riyadh", "stranger"):
        generate_key(folder / f"{name}.pem", None)
    return folder


@pytest.fixture(scope="module")
def release(base):
    build = encrypted_targets(base / "riyadh.pub")
    return make_release(base, key_file=base / "site.pem", build=build)


def test_it_is_verified_without_the_key(release):
    report = verify(release.folder, release.public)
    counts = {step.title: dict(step.counts) for step in report.steps}
    assert counts["attestations"] == {"attestations": 24}
    assert json.loads((release.folder / "images/manifest.json").read_bytes()) == []


@pytest.mark.parametrize("form", ["folder", "bundle"])
def test_the_key_of_the_country_opens_it(release, base, tmp_path, form):
    trust = TrustFiles((release.public_file,))
    path = release.folder
    if form == "bundle":
        path = tmp_path / "release.tar"
        bundle(release.folder, trust, path, (), SILENT)
    made = decrypt(path, trust, None, base / "riyadh.pem", tmp_path / "plain", SILENT)
    image = release.built[0].image
    assert (made.reference, made.image_id) == (image.reference, image.config.digest)
    assert made.manifest == Digest.of(plain_manifest(image))
    assert read_layout(tmp_path / "plain").image(image.reference).manifest.digest == made.manifest


def test_nobody_else_opens_it_and_nothing_is_published(release, base, tmp_path):
    trust = TrustFiles((release.public_file,))
    with pytest.raises(VerificationError, match="not encrypted for this key"):
        decrypt(release.folder, trust, None, base / "stranger.pem", tmp_path / "plain", SILENT)
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_image_of_which_nothing_is_attested_is_refused(base, tmp_path):
    """Nobody can look into the layer, so somebody must vouch for what comes out of it."""
    from packager.attest.cosign import attestation_artifact
    from packager.attest.statement import ENCRYPTION

    def without(built, request, signer):
        from small_release import evidence_of

        evidence = evidence_of(built, request)
        del evidence[ENCRYPTION]
        honest = artifacts_of(built, request, signer)
        return [honest[0], honest[2], attestation_artifact(built.image, evidence, signer)]

    build = encrypted_targets(base / "riyadh.pub")
    made = make_release(tmp_path, key_file=base / "site.pem", build=build, artifacts=without)
    with pytest.raises(VerificationError, match=r"step 10, attestations: no attestation says what"):
        verify(made.folder, made.public)


def test_an_attestation_about_other_layers_is_refused(base, tmp_path):
    from packager.attest.cosign import attestation_artifact
    from packager.attest.statement import ENCRYPTION

    def other(built, request, signer):
        from small_release import evidence_of

        evidence = evidence_of(built, request)
        evidence[ENCRYPTION]["layers"][0]["diffId"] = str(Digest.of(b"other"))
        honest = artifacts_of(built, request, signer)
        return [honest[0], honest[2], attestation_artifact(built.image, evidence, signer)]

    build = encrypted_targets(base / "riyadh.pub")
    made = make_release(tmp_path, key_file=base / "site.pem", build=build, artifacts=other)
    with pytest.raises(VerificationError, match="no attestation says what"):
        verify(made.folder, made.public)


@pytest.mark.parametrize("command", ["run", "load"])
def test_an_encrypted_model_is_not_started_but_the_way_is_told(release, base, command, capsys):
    from packager.cli.main import main

    key = str(release.public_file)
    assert main([command, str(release.folder), "--key", key, "-q"]) in (1, 5)
    told = capsys.readouterr().err
    assert "packager decrypt" in told or "no Docker engine" in told


def test_the_command(release, base, tmp_path, capsys):
    from packager.cli.main import main

    options = ["--key", release.public_file, "--decryption-key", base / "riyadh.pem"]
    arguments = [release.folder, *options, "-o", tmp_path / "plain", "--json"]
    assert main(["decrypt", *map(str, arguments)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image_id"] == str(release.built[0].image.config.digest)


def test_nobody_but_the_owner_enters_the_plain_image(release, base, tmp_path):
    trust = TrustFiles((release.public_file,))
    decrypt(release.folder, trust, None, base / "riyadh.pem", tmp_path / "plain", SILENT)
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o700
