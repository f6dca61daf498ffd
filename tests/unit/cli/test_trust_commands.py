"""Keys and what happens to them, by the commands: made, rotated, revoked, a permit to go back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_release import SmallRelease, make_release

from packager.cli.main import main

OLD, NEW = 100004000009, 100005000009


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    for name in ("old", "new"):
        assert main(["keys", "generate", "-o", str(folder / f"{name}.pem"), "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def release(base) -> SmallRelease:
    return make_release(base / "1.4.0", key_file=base / "old.pem")


@pytest.fixture(scope="module")
def later(base) -> SmallRelease:
    return make_release(base / "1.5.0", key_file=base / "new.pem", version="1.5.0")


def verify(release: SmallRelease, *options: object) -> int:
    return main(["verify", str(release.folder), "-q", *map(str, options)])


def test_a_rotation_from_end_to_end(base, release, later, capsys):
    statement = base / "rotation.json"
    keys = ["--old", base / "old.pem", "--new", base / "new.pem", "--last", OLD]
    assert main(["keys", "rotate", *map(str, keys), "-o", str(statement), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statement"] == str(statement)
    assert verify(later, "--key", base / "old.pub") == 4
    rotated = ["--key", base / "old.pub", "--rotation", statement]
    assert verify(later, *rotated) == 0
    assert verify(release, *rotated) == 0
    assert main(["keys", "rotate", *map(str, keys), "-o", str(statement)]) == 1


def test_a_revocation_from_end_to_end(base, release, capsys):
    statement = base / "revoked.json"
    options = ["--key", base / "new.pem", "--number", 2, "--revoke", base / "old.pub"]
    assert main(["keys", "revoke", *map(str, options), "-o", str(statement)]) == 0
    both = ["--key", base / "old.pub", "--key", base / "new.pub"]
    assert verify(release, *both) == 0
    assert verify(release, *both, "--revocations", statement) == 4
    assert "revoked" in capsys.readouterr().err
    newest = ["--minimum-revocations", 3]
    assert verify(release, *both, "--revocations", statement, *newest) == 4
    assert main(["keys", "revoke", "--key", "x", "--number", "1", "-o", "y"]) == 2


def test_a_downgrade_and_its_permit(base, release, capsys):
    key = ["--key", base / "old.pub"]
    assert verify(release, *key, "--minimum", OLD) == 0
    assert verify(release, *key, "--minimum", f"filetype={NEW}") == 4
    assert verify(release, *key, "--minimum", f"another={NEW}") == 0
    assert verify(release, *key, "--minimum", "yesterday") == 2
    capsys.readouterr()
    assert main(["digest", str(release.folder)]) == 0
    digest = capsys.readouterr().out.strip()
    permit = base / "permit.json"
    options = ["--key", base / "old.pem", "--release", digest, "--installed", NEW]
    assert main(["keys", "allow-rollback", *map(str, options), "-o", str(permit)]) == 0
    assert verify(release, *key, "--minimum", f"filetype={NEW}", "--allow-rollback", permit) == 0
    assert verify(release, *key, "--minimum", NEW + 1, "--allow-rollback", permit) == 4


def test_more_signatures_than_keys_cannot_be_required(base, release):
    assert verify(release, "--key", base / "old.pub", "--require", 2) == 1


@pytest.mark.parametrize("algorithm", ["ecdsa-p384", "ed25519", "rsa-3072", "ml-dsa-65"])
def test_keys_of_other_algorithms(algorithm, tmp_path, capsys):
    path = tmp_path / "key.pem"
    assert main(["keys", "generate", "-o", str(path), "--algorithm", algorithm, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["algorithm"] == algorithm
    assert main(["keys", "public", str(path)]) == 0
    assert capsys.readouterr().out.rstrip() == path.with_suffix(".pub").read_text().rstrip()
