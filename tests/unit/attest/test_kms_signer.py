"""The adapter to key services, against a stand-in that holds a key in memory: no cloud is asked."""

from __future__ import annotations

from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from packager.attest.keys import open_signer, public_key_of
from packager.errors import InputError, UnavailableError

signing = pytest.importorskip("securesystemslib.signer")

KEY = ec.generate_private_key(ec.SECP256R1())


class Service(signing.Signer):
    """Answers as a key service does; a key named `gone` is not there."""

    public_key = None
    asked: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @classmethod
    def import_(cls, *names):
        cls.asked.append(names)
        if "gone" in names:
            raise PermissionError("no such key, or not yours")
        pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        keyval = {"public": pem.decode()}
        return "stand-in:key", signing.SSlibKey("id", "ecdsa", "ecdsa-sha2-nistp256", keyval)

    @classmethod
    def from_priv_key_uri(cls, uri, public_key, secrets_handler=None):
        return cls(uri)

    def sign(self, payload):
        return signing.Signature("id", KEY.sign(payload, ec.ECDSA(SHA256())).hex())


@pytest.fixture(autouse=True)
def service(monkeypatch):
    for scheme in ("awskms", "gcpkms", "azurekms", "hv", "stand-in"):
        monkeypatch.setitem(signing.SIGNER_FOR_URI_SCHEME, scheme, Service)
    monkeypatch.setattr(Service, "asked", [])


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("awskms:alias/site", ("alias/site",)),
        ("gcpkms:projects/p/locations/l/k/1", ("projects/p/locations/l/k/1",)),
        ("azurekms://site.vault.azure.net/keys/signing/v1", ("site", "signing")),
        ("hv:signing", ("signing",)),
    ],
)
def test_each_service_is_asked_for_its_key(reference, names):
    signer = open_signer(reference, {})
    public_key_of(signer).verify(signer.sign(b"data"), b"data")
    assert Service.asked == [names]


def test_a_service_that_refuses_is_unavailable():
    with pytest.raises(UnavailableError, match="does not answer"):
        open_signer("hv:gone", {})


@pytest.mark.parametrize("reference", ["awskms:", "azurekms://vault/signing", "azurekms:x"])
def test_names_that_are_none(reference):
    with pytest.raises((InputError, UnavailableError)):
        open_signer(reference, {})


def test_without_the_vendor_s_library_the_way_out_is_told(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(InputError, match="not installed") as caught:
        open_signer("awskms:alias/site", {})
    assert "pip install" in (caught.value.findings[0].next_step or "")
