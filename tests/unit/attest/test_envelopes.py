"""DSSE, sigstore bundles, statements: the bytes of the specifications, and nothing looser."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from packager.attest import base64_text, dsse, sigstore
from packager.attest.keys import open_signer, public_key_of
from packager.attest.statement import SLSA_PROVENANCE, Statement
from packager.canonical import dumps
from packager.digest import Digest
from packager.errors import VerificationError


def signer_of(number: int):
    key = ec.derive_private_key(number, ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return open_signer("env://K", {"K": pem.decode()})


SIGNER, OTHER = signer_of(7), signer_of(8)
KEY = public_key_of(SIGNER)
PAYLOAD = Statement("image", Digest.of(b"image"), SLSA_PROVENANCE, {"a": 1}).to_bytes()


def test_pae_is_the_specification_s_example():
    """secure-systems-lab/dsse, protocol.md, "Test Vectors"."""
    encoded = dsse.pae("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_envelope_round_trip():
    envelope = dsse.sign_envelope(PAYLOAD, SIGNER)
    assert dsse.open_envelope(envelope, KEY) == PAYLOAD
    assert envelope == dsse.sign_envelope(PAYLOAD, SIGNER)


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(payload=base64_text.encode(b"other")),
        lambda it: it.update(signatures=dsse.sign_envelope(PAYLOAD, OTHER)["signatures"]),
        lambda it: it["signatures"][0].update(sig=base64_text.encode(SIGNER.sign(PAYLOAD))),
    ],
    ids=["payload", "other key", "signed without its type"],
)
def test_envelope_of_another_signature_refused(change):
    envelope = dsse.sign_envelope(PAYLOAD, SIGNER)
    change(envelope)
    with pytest.raises(VerificationError):
        dsse.open_envelope(envelope, KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(signatures=[]),
        lambda it: it.update(signatures=it["signatures"] * 2),
        lambda it: it.update(extra=1),
        lambda it: it.pop("payload"),
        lambda it: it.update(payloadType="text/plain"),
        lambda it: it.update(payload=it["payload"] + "\n"),
        lambda it: it["signatures"][0].update(cert="x"),
    ],
)
def test_envelope_of_another_shape_refused(change):
    envelope = dsse.sign_envelope(PAYLOAD, SIGNER)
    change(envelope)
    with pytest.raises(ValueError):
        dsse.open_envelope(envelope, KEY)


def test_a_type_is_signed_too():
    """The same payload signed as text is no statement, whatever the envelope says of itself."""
    envelope = dsse.sign_envelope(PAYLOAD, SIGNER, "text/plain")
    envelope["payloadType"] = dsse.IN_TOTO
    with pytest.raises(VerificationError):
        dsse.open_envelope(envelope, KEY)


def test_bundles_are_canonical_and_deterministic():
    for bundle in (sigstore.message_bundle(b"x", SIGNER), sigstore.dsse_bundle(PAYLOAD, SIGNER)):
        assert dumps(json.loads(bundle)) == bundle
    assert sigstore.message_bundle(b"x", SIGNER) == sigstore.message_bundle(b"x", SIGNER)


def test_bundle_round_trip():
    sigstore.verify_message(sigstore.message_bundle(b"data", SIGNER), b"data", KEY)
    bundle = sigstore.dsse_bundle(PAYLOAD, SIGNER)
    assert sigstore.verify_dsse(bundle, KEY, limit=1 << 20) == PAYLOAD


def test_a_bundle_about_other_bytes_or_of_another_key():
    with pytest.raises(ValueError, match="other bytes"):
        sigstore.verify_message(sigstore.message_bundle(b"data", SIGNER), b"other", KEY)
    with pytest.raises(ValueError, match="another key"):
        sigstore.verify_message(sigstore.message_bundle(b"data", OTHER), b"data", KEY)


def test_a_bundle_that_claims_our_key_is_still_checked():
    bundle = json.loads(sigstore.message_bundle(b"data", OTHER))
    bundle["verificationMaterial"]["publicKey"]["hint"] = KEY.hint
    with pytest.raises(VerificationError):
        sigstore.verify_message(dumps(bundle), b"data", KEY)


@pytest.mark.parametrize("bundle", [b"", b"{}", b"[]", b'{"verificationMaterial":7}', b"\xff"])
def test_a_hint_is_found_or_not_and_never_raises(bundle):
    assert sigstore.hint_of(bundle) is None
    assert f"sha256:{sigstore.hint_of(sigstore.message_bundle(b'', SIGNER))}" == KEY.fingerprint


def test_statement_round_trip():
    statement = Statement("image", Digest.of(b"image"), SLSA_PROVENANCE, {"a": {"b": [1]}})
    assert Statement.parse(statement.to_bytes()) == statement


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda it: it.update(subject=[]),
        lambda it: it.update(subject=it["subject"] * 2),
        lambda it: it["subject"][0].update(digest={"sha256": "../x"}),
        lambda it: it["subject"][0].update(digest={"md5": "00"}),
        lambda it: it.update(predicate=[]),
        lambda it: it.update(extra=1),
        lambda it: it.pop("predicateType"),
    ],
)
def test_statement_of_another_shape_refused(change):
    document = json.loads(PAYLOAD)
    change(document)
    with pytest.raises(ValueError):
        Statement.parse(dumps(document))
