"""Several keys, rotation, revocation, age: what the caller's policy decides, and who refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from bundles import make_bundle
from small_release import SmallRelease, make_release

from packager.attest import root
from packager.attest.algorithms import ALGORITHMS
from packager.attest.keys import generate_key, open_signer, open_signers, read_public_key
from packager.attest.trust import TrustPolicy, read_trust
from packager.attest.trust_statements import (
    open_revocations,
    open_rotation,
    revocation_list,
    rollback_permit,
    rotation,
)
from packager.attest.verifying import verify
from packager.bundle.reading import BundleSource
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.trust import TrustFiles
from packager.errors import InputError, VerificationError

OLD, NEW = 100004000009, 100005000009  # the counters of 1.4.0 and 1.5.0


@dataclass(frozen=True)
class Keys:
    """Key pairs by name, in one folder."""

    folder: Path

    def signer(self, name: str):
        return open_signer(str(self.folder / f"{name}.pem"), {})

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.pub"

    def key(self, name: str):
        return read_public_key(self.public(name))

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("old", "new", "newer", "thief"):
        generate_key(folder / f"{name}.pem", None)
    for algorithm in ALGORITHMS:
        generate_key(folder / f"{algorithm}.pem", None, algorithm)
    return Keys(folder)


@pytest.fixture(scope="module")
def release(keys, tmp_path_factory) -> SmallRelease:
    """Version 1.4.0, signed with the old key."""
    return make_release(tmp_path_factory.mktemp("old"), key_file=keys.folder / "old.pem")


@pytest.fixture(scope="module")
def next_release(keys, tmp_path_factory) -> SmallRelease:
    """Version 1.5.0, signed with the new key."""
    base = tmp_path_factory.mktemp("new")
    return make_release(base, version="1.5.0", key_file=keys.folder / "new.pem")


@pytest.fixture(scope="module")
def signed_by_all(keys, tmp_path_factory) -> SmallRelease:
    """Signed with the old key, and beside it with one key of every other algorithm."""
    others = [name for name in ALGORITHMS if name != "ecdsa-p256"]
    return make_release(
        tmp_path_factory.mktemp("all"),
        key_file=keys.folder / "old.pem",
        also=[keys.signer(name) for name in others],
    )


def refusal(release, trust) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        verify(release.folder, trust)
    return caught.value


def told(error: VerificationError) -> str:
    return " ".join(f"{finding.what} {finding.got}" for finding in error.findings)


# --- several signatures


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_each_algorithm_alone_can_be_trusted(name, signed_by_all, keys):
    """Whoever knows the auditor's key only believes the root, and through it the images."""
    trusted = "old" if name == "ecdsa-p256" else name
    report = verify(signed_by_all.folder, keys.key(trusted))
    assert report.keys == (keys.key(trusted).fingerprint,)


def test_several_signatures_are_required(signed_by_all, keys):
    names = ["old", *(name for name in ALGORITHMS if name != "ecdsa-p256")]
    trusted = [keys.key(name) for name in names]
    report = verify(signed_by_all.folder, TrustPolicy.of(*trusted, required=len(names)))
    assert set(report.keys) == {key.fingerprint for key in trusted}


def test_too_few_signatures_are_refused(release, keys):
    trust = TrustPolicy.of(keys.key("old"), keys.key("new"), required=2)
    assert "step 2, signature: release.json carries 1 of 2" in told(refusal(release, trust))


def test_one_key_twice_is_one_signature(release, keys):
    with pytest.raises(InputError, match="more signatures are required"):
        TrustPolicy.of(keys.key("old"), keys.key("old"), required=2)


@pytest.mark.parametrize("harm", ["strip", "flip", "swap", "link"])
def test_no_signature_beside_can_be_taken_off_or_changed(harm, signed_by_all, keys, tmp_path):
    """Even by somebody who only trusts the first key."""
    folder = tmp_path / "release"
    shutil.copytree(signed_by_all.folder, folder)
    path = folder / root.signature_path(keys.key("ed25519"))
    data = path.read_bytes()
    path.unlink()
    if harm == "flip":
        path.write_bytes(data.replace(b'signature":"', b'signature":"A', 1))
    if harm == "swap":
        shutil.copyfile(folder / root.signature_path(keys.key("ecdsa-p384")), path)
    if harm == "link":
        path.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_bytes(data)
    harmed = replace(signed_by_all, folder=folder)
    error = refusal(harmed, keys.key("old"))
    assert "step 4, standing" in told(error)
    assert {finding.where for finding in error.findings} == {path.name}
    assert "step 2" in told(refusal(harmed, keys.key("ed25519"))) or harm == "strip"


def test_a_signature_that_the_root_does_not_name_is_refused(release, keys, tmp_path):
    from packager.attest import sigstore

    folder = tmp_path / "release"
    shutil.copytree(release.folder, folder)
    data = (folder / root.ROOT).read_bytes()
    bundle = sigstore.message_bundle(data, keys.signer("new"))
    (folder / root.signature_path(keys.key("new"))).write_bytes(bundle)
    harmed = replace(release, folder=folder)
    assert "step 5, closed world" in told(refusal(harmed, keys.key("old")))
    assert "does not name" in told(refusal(harmed, keys.key("new")))


def test_the_first_key_is_what_stock_tools_verify(keys):
    references = [str(keys.folder / f"{name}.pem") for name in ("ed25519", "old")]
    with pytest.raises(InputError, match="stock tools"):
        open_signers(references, {})
    assert len(open_signers(references[::-1], {})) == 2
    with pytest.raises(InputError, match="given twice"):
        open_signers([references[1], references[1]], {})


# --- age


def test_an_older_release_is_refused(release, keys):
    trust = replace(TrustPolicy.of(keys.key("old")), minimum={"filetype": OLD})
    assert verify(release.folder, trust).counter == OLD
    for minimum in ({"filetype": NEW}, {"*": NEW}, {"filetype": OLD, "*": OLD + 1}):
        error = refusal(release, replace(trust, minimum=minimum))
        assert "step 4, standing" in told(error)
        assert "downgrade" in told(error)
    assert verify(release.folder, replace(trust, minimum={"another": NEW}))


def test_a_signed_permit_lets_one_release_over_one_counter(release, keys):
    digest = Digest.of((release.folder / root.ROOT).read_bytes())
    permit = keys.write("permit.json", rollback_permit(keys.signer("old"), digest, NEW))
    files = TrustFiles((keys.public("old"),), permits=(permit,), minimum={"filetype": NEW})
    assert verify(release.folder, read_trust(files))
    later = replace(files, minimum={"filetype": NEW + 1})
    assert "downgrade" in told(refusal(release, read_trust(later)))
    other = rollback_permit(keys.signer("old"), Digest.of(b"another release"), NEW)
    elsewhere = replace(files, permits=(keys.write("other.json", other),))
    assert "downgrade" in told(refusal(release, read_trust(elsewhere)))
    stolen = keys.write("stolen.json", rollback_permit(keys.signer("thief"), digest, NEW))
    with pytest.raises(VerificationError, match="not signed with a key that is trusted"):
        read_trust(replace(files, permits=(stolen,)))


# --- rotation


def rotated(keys, *, last: int | None = None, more: tuple[Path, ...] = ()) -> TrustFiles:
    statement = rotation(keys.signer("old"), keys.signer("new"), last)
    path = keys.write(f"rotation-{last}.json", statement)
    return TrustFiles((keys.public("old"),), rotations=(path, *more))


def test_a_rotated_key_is_believed_and_the_old_one_no_more(release, next_release, keys):
    assert "another key" in told(refusal(next_release, keys.key("old")))
    trust = read_trust(rotated(keys))
    assert verify(next_release.folder, trust).keys == (keys.key("new").fingerprint,)
    assert "step 2" in told(refusal(release, trust))


def test_the_old_key_may_vouch_for_what_it_signed_before(release, next_release, keys):
    trust = read_trust(rotated(keys, last=OLD))
    assert verify(release.folder, trust)
    assert verify(next_release.folder, trust)
    assert "rotated away" in told(refusal(release, read_trust(rotated(keys, last=OLD - 1))))


def test_a_chain_of_rotations_in_any_order(next_release, keys):
    second = keys.write("second.json", rotation(keys.signer("new"), keys.signer("newer"), NEW))
    first = rotated(keys).rotations[0]
    for order in ((first, second), (second, first)):
        trust = read_trust(TrustFiles((keys.public("old"),), rotations=order))
        assert verify(next_release.folder, trust)
        assert [trusted.key for trusted in trust.keys] == [keys.key("new"), keys.key("newer")]


def test_a_rotation_by_a_stranger_counts_for_nothing(keys):
    statement = keys.write("r.json", rotation(keys.signer("thief"), keys.signer("new"), None))
    with pytest.raises(VerificationError, match="not signed with a key that is trusted"):
        read_trust(TrustFiles((keys.public("old"),), rotations=(statement,)))


def test_two_rotations_of_one_key_are_a_theft(keys):
    again = keys.write("again.json", rotation(keys.signer("old"), keys.signer("thief"), None))
    with pytest.raises(VerificationError, match="two different keys"):
        read_trust(rotated(keys, more=(again,)))


@pytest.mark.parametrize(
    "change",
    [
        {"old": "sha256:" + "0" * 64},
        {"new": "AAAA"},
        {"proof": "AAAA"},
        {"last": -1},
        {"last": True},
        {"last": "1"},
        {"last": 1 << 53},
        {"kind": "RevocationList"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_signed_statement_of_another_shape_is_refused(change, keys):
    import base64

    from packager.attest import sigstore, trust_statements

    good = json.loads(rotation(keys.signer("old"), keys.signer("new"), 1))
    document = json.loads(base64.b64decode(good["dsseEnvelope"]["payload"]))
    bundle = sigstore.dsse_bundle(
        dumps(document | change), keys.signer("old"), trust_statements.PAYLOAD_TYPE
    )
    with pytest.raises(VerificationError):
        open_rotation(bundle, [keys.key("old")], "here")


def test_another_s_new_key_cannot_be_named_without_its_holder(keys):
    """The proof is made with the new key, over the old one: it cannot be taken from elsewhere."""
    import base64

    from packager.attest import sigstore, trust_statements

    other = json.loads(rotation(keys.signer("thief"), keys.signer("new"), None))
    taken = json.loads(base64.b64decode(other["dsseEnvelope"]["payload"]))
    document = taken | {"old": keys.key("old").fingerprint}
    bundle = sigstore.dsse_bundle(
        dumps(document), keys.signer("old"), trust_statements.PAYLOAD_TYPE
    )
    with pytest.raises(VerificationError, match="does not verify"):
        open_rotation(bundle, [keys.key("old")], "here")


# --- revocation


def revoked(keys, number=1, by="new", names=("old",), releases=()) -> Path:
    fingerprints = [keys.key(name).fingerprint for name in names]
    data = revocation_list(keys.signer(by), number, fingerprints, releases)
    return keys.write(f"revoked-{number}.json", data)


def test_a_revoked_key_is_refused(release, keys):
    files = TrustFiles((keys.public("old"), keys.public("new")), revocations=(revoked(keys),))
    error = refusal(release, read_trust(files))
    assert error.exit_code == 4
    assert "step 2, signature: the key that signed this release is revoked" in told(error)


def test_a_revoked_key_is_refused_beside_a_good_one(signed_by_all, keys):
    files = TrustFiles(
        (keys.public("old"), keys.public("new")),
        revocations=(revoked(keys, names=("ed25519",)),),
    )
    assert "a key that signed this release is revoked" in told(
        refusal(signed_by_all, read_trust(files))
    )


def test_a_revoked_release_is_refused(release, keys):
    digest = Digest.of((release.folder / root.ROOT).read_bytes())
    listed = revoked(keys, by="old", names=(), releases=[digest])
    files = TrustFiles((keys.public("old"),), revocations=(listed,))
    assert "this release is revoked" in told(refusal(release, read_trust(files)))


def test_a_thief_cannot_rotate_a_revoked_key(keys):
    statement = keys.write("theft.json", rotation(keys.signer("old"), keys.signer("thief"), None))
    files = TrustFiles(
        (keys.public("old"), keys.public("new")),
        rotations=(statement,),
        revocations=(revoked(keys),),
    )
    with pytest.raises(VerificationError, match="signed with a key that is revoked"):
        read_trust(files)


def test_a_list_by_a_stranger_counts_for_nothing(keys):
    files = TrustFiles((keys.public("old"),), revocations=(revoked(keys, by="thief"),))
    with pytest.raises(VerificationError, match="not signed with a key that is trusted"):
        read_trust(files)


def test_an_older_list_is_not_accepted_again(keys):
    files = TrustFiles(
        (keys.public("old"), keys.public("new")),
        revocations=(revoked(keys, number=3),),
        minimum_revocations=4,
    )
    with pytest.raises(VerificationError, match="older than one that this site has seen"):
        read_trust(files)
    with pytest.raises(VerificationError, match="or is missing"):
        read_trust(replace(files, revocations=()))
    assert read_trust(replace(files, minimum_revocations=3)).revocations == 3


def test_a_statement_without_end_is_not_read(keys):
    path = keys.write("long.json", b" " * ((1 << 20) + 1))
    with pytest.raises(InputError, match="too long"):
        read_trust(TrustFiles((keys.public("old"),), revocations=(path,)))


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 9999, b'{"a":' * 9999, b"\xff", b"9" * 9999])
def test_garbage_is_no_statement(data, keys):
    with pytest.raises(VerificationError):
        open_revocations(data, [keys.key("old")], "here")


# --- all of it in a bundle


def test_signatures_beside_travel_in_a_bundle(signed_by_all, keys, tmp_path):
    make_bundle(signed_by_all, tmp_path / "all.tar")
    make_bundle(signed_by_all, tmp_path / "some.tar", "sa/x86-64-v3/compose")
    names = ["old", *(name for name in ALGORITHMS if name != "ecdsa-p256")]
    trust = TrustPolicy.of(*(keys.key(name) for name in names), required=len(names))
    for name in ("all.tar", "some.tar"):
        source = BundleSource.at(tmp_path / name)
        assert len(verify(source, trust).keys) == len(names)
        assert verify(source, keys.key("ed25519"))
        with pytest.raises(VerificationError, match="step 2"):
            verify(source, keys.key("thief"))


def test_a_bundle_is_as_old_as_its_release(release, keys, tmp_path):
    make_bundle(release, tmp_path / "old.tar")
    trust = replace(TrustPolicy.of(keys.key("old")), minimum={"filetype": NEW})
    with pytest.raises(VerificationError, match="step 4, standing: the release is older"):
        verify(BundleSource.at(tmp_path / "old.tar"), trust)
