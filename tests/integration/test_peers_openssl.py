"""A release, checked with what every system has: openssl and sha256sum, and nothing of ours."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace

import pytest
from engines import missing
from small_release import SmallRelease, make_release
from tampering import SBOM, flip

from packager.attest.keys import generate_key, open_signer, read_public_key

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> SmallRelease:
    for tool in ("openssl", "sha256sum"):
        if not shutil.which(tool):
            missing(f"{tool} is not installed")
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def release(pristine, tmp_path) -> SmallRelease:
    shutil.copytree(pristine.folder, tmp_path / "release")
    return replace(pristine, folder=tmp_path / "release")


def run(release: SmallRelease, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=release.folder, capture_output=True, text=True, check=False
    )


def signature(release: SmallRelease, key=None) -> subprocess.CompletedProcess[str]:
    return run(
        release, "openssl", "dgst", "-sha256", "-verify", key or release.public_file,
        "-signature", "release.sig", "release.json",
    )  # fmt: skip


def test_openssl_accepts_the_signature(release):
    done = signature(release)
    assert (done.returncode, done.stdout) == (0, "Verified OK\n")


def test_openssl_refuses_another_key(release, tmp_path):
    assert signature(release, generate_key(tmp_path / "o.pem", None).public).returncode != 0


@pytest.mark.parametrize("name", ["release.json", "release.sig"])
def test_openssl_refuses_a_changed_byte(release, name):
    flip(release.folder / name)
    assert signature(release).returncode != 0


def test_sha256sum_accepts_and_lists_every_payload_file(release):
    done = run(release, "sha256sum", "--strict", "-c", "checksums.txt")
    assert done.returncode == 0, done.stdout
    present = {
        path.relative_to(release.folder).as_posix()
        for path in release.folder.rglob("*")
        if path.is_file()
    }
    unlisted = {"release.json", "release.sigstore.json", "release.sig", "checksums.txt"}
    assert {line.removesuffix(": OK") for line in done.stdout.splitlines()} == present - unlisted


def test_sha256sum_refuses_a_changed_byte(release):
    flip(release.folder / SBOM)
    done = run(release, "sha256sum", "--strict", "-c", "checksums.txt")
    assert done.returncode != 0
    assert f"{SBOM}: FAILED" in done.stdout


def test_openssl_reads_our_keys_and_gives_the_same_fingerprint(tmp_path, release):
    pair = generate_key(tmp_path / "secret.pem", b"open sesame")
    opened = run(release, "openssl", "pkey", "-in", pair.private, "-passin", "pass:open sesame",
                 "-pubout")  # fmt: skip
    assert opened.stdout == pair.public.read_text()
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", pair.public, "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    assert pair.fingerprint == f"sha256:{hashlib.sha256(der).hexdigest()}"


@pytest.mark.parametrize("form", [["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]])
def test_we_sign_with_a_key_of_openssl(tmp_path, release, form):
    key, public = tmp_path / "theirs.pem", tmp_path / "theirs.pub"
    run(release, "openssl", "genpkey", *form, "-out", key)
    run(release, "openssl", "pkey", "-in", key, "-pubout", "-out", public)
    made = make_release(tmp_path / "theirs", key_file=key)
    assert signature(made, public).returncode == 0
    read_public_key(public).verify(open_signer(str(key), {}).sign(b"x"), b"x")
