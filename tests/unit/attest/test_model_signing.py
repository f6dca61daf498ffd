"""OpenSSF's own verifier takes the model's signature, and refuses what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from packager.attest.keys import generate_key, open_signer
from packager.attest.model_signing import model_signature
from packager.digest import Digest

FILES = {"model.onnx": b"graph", "weights.bin": b"weights", "golden.npz": b"golden"}


@pytest.fixture
def signed(tmp_path):
    """The model's folder, its signature, the public key."""
    pytest.importorskip("model_signing")
    pair = generate_key(tmp_path / "site.pem", None)
    folder = tmp_path / "filetype"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    files = [(name, Digest.of(data)) for name, data in FILES.items()]
    signature = tmp_path / "model.sig"
    signature.write_bytes(model_signature("filetype", files, open_signer(str(pair.private), {})))
    return folder, signature, pair.public


def verified(folder: Path, signature: Path, key: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("model_signing"), "verify", "key"]
    options = ["--signature", signature, "--public_key", key, folder]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def test_accepted(signed):
    done = verified(*signed)
    assert (done.returncode, "succeeded" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("harm", ["changed", "added", "removed", "key", "signature"])
def test_refused(signed, harm, tmp_path):
    folder, signature, key = signed
    if harm == "changed":
        (folder / "model.onnx").write_bytes(b"graPh")
    elif harm == "added":
        (folder / "more").write_bytes(b"")
    elif harm == "removed":
        (folder / "golden.npz").unlink()
    elif harm == "key":
        key = generate_key(tmp_path / "other.pem", None).public
    else:
        signature.write_bytes(signature.read_bytes().replace(b'"sig":"ME', b'"sig":"MF', 1))
    assert verified(folder, signature, key).returncode != 0


def test_the_order_of_files_does_not_matter(tmp_path):
    signer = open_signer(str(generate_key(tmp_path / "site.pem", None).private), {})
    files = [(name, Digest.of(data)) for name, data in FILES.items()]
    assert model_signature("m", files, signer) == model_signature("m", files[::-1], signer)
