"""Keys: what is accepted, what every unusable key is told, and that no key is ever repeated."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from packager.attest import key_files
from packager.attest.keys import (
    PublicKey,
    generate_key,
    open_signer,
    public_key_of,
    public_of,
    read_public_key,
)
from packager.errors import InputError, OutputError, VerificationError

PASSWORD = "open sesame"
OPENED = {"PACKAGER_KEY_PASSWORD": PASSWORD}
COSIGN_KEY = (
    b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJrZGYiOnt9fQ==\n"
    b"-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
)


def private_pem(key, password: bytes | None = None, form=PrivateFormat.PKCS8) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption)


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


P256 = ec.generate_private_key(ec.SECP256R1())
P224 = ec.generate_private_key(ec.SECP224R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def written(tmp_path):
    def write(data: bytes, name: str = "site.pem") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def refusal(reference, environ=None) -> InputError:
    with pytest.raises(InputError) as caught:
        open_signer(str(reference), environ or {})
    (finding,) = caught.value.findings
    assert finding.next_step
    assert caught.value.__cause__ is None
    return caught.value


def told(error: InputError) -> str:
    return " ".join(error.findings[0].as_dict().values())


# --- keys that work


@pytest.mark.parametrize(
    ("pem", "environ"),
    [
        (private_pem(P256), {}),
        (private_pem(P256, form=PrivateFormat.TraditionalOpenSSL), {}),
        (private_pem(P256, PASSWORD.encode()), OPENED),
        (private_pem(P256), OPENED),
        (private_pem(P256, PASSWORD.encode(), PrivateFormat.TraditionalOpenSSL), OPENED),
    ],
    ids=["PKCS#8", "SEC1", "encrypted", "password not needed", "encrypted SEC1"],
)
def test_usable_keys_sign(written, pem, environ):
    signer = open_signer(str(written(pem)), environ)
    public_key_of(signer).verify(signer.sign(b"data"), b"data")


@pytest.mark.parametrize("wrap", [bytes, base64.b64encode, base64.encodebytes])
def test_a_key_from_the_environment(wrap):
    environ = {"SIGNING": wrap(private_pem(P256)).decode()}
    assert open_signer("env://SIGNING", environ).public_key_pem() == public_pem(P256)


def test_signatures_are_deterministic(written):
    path = str(written(private_pem(P256)))
    first, second = (open_signer(path, {}).sign(b"the same bytes") for _ in range(2))
    assert first == second
    assert open_signer(path, {}).sign(b"other bytes") != first


def test_rfc_6979_test_vector():
    """RFC 6979, A.2.5, P-256 with SHA-256, message "sample"."""
    number = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    key = ec.derive_private_key(number, ec.SECP256R1())
    signature = open_signer("env://K", {"K": private_pem(key).decode()}).sign(b"sample")
    assert "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" in signature.hex()
    assert "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8" in signature.hex()


def test_verifying_refuses_other_data_and_garbage(written):
    signer = open_signer(str(written(private_pem(P256))), {})
    key = public_key_of(signer)
    for signature, data in ((signer.sign(b"x"), b"y"), (b"", b"x"), (b"\x30\x00", b"x")):
        with pytest.raises(VerificationError):
            key.verify(signature, data)


def test_public_of(written):
    assert public_of(str(written(private_pem(P256)))) == public_pem(P256)


# --- keys that do not


@pytest.mark.parametrize(
    ("pem", "environ", "what"),
    [
        (public_pem(P256), {}, "a public key was given"),
        (private_pem(RSA), {}, "an RSA key of 2048 bits"),
        (private_pem(P224), {}, "an elliptic-curve key on secp224r1"),
        (public_pem(RSA), {}, "a public key was given"),
        (COSIGN_KEY, {}, "cosign's own encrypted form"),
        (private_pem(P256, PASSWORD.encode()), {}, "no password"),
        (private_pem(P256, PASSWORD.encode()), {"PACKAGER_KEY_PASSWORD": "x"}, "does not open"),
        (private_pem(P256, PASSWORD.encode(), PrivateFormat.TraditionalOpenSSL), {}, "no password"),
        (private_pem(ED25519, form=PrivateFormat.OpenSSH), {}, "an OpenSSH key"),
        (private_pem(P256)[:80] + b"\n-----END PRIVATE KEY-----\n", {}, "damaged"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", {}, "a certificate"),
        (b"-----BEGIN POEM-----\nAAAA\n-----END POEM-----\n", {}, "no key"),
        (b"garbage", {}, "no PEM block"),
        (bytes(range(256)), {}, "no PEM block"),
        (b"", {}, "empty"),
        (b" \n" * 9, {}, "empty"),
        (b"x" * 100_000, {}, "more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # keys are other ones in each worker
)
def test_unusable_keys_are_told_apart(written, pem, environ, what):
    assert what in told(refusal(written(pem), environ))


@pytest.mark.parametrize(
    "reference",
    ["hashivault://k", "hsm:2", "gnupg:ABC", "https://keys.example.com/k"],
)
def test_other_stores_are_not_supported_and_say_so(reference):
    error = refusal(reference)
    assert "not supported by this version" in told(error)
    assert "PEM file" in told(error)


def test_a_missing_file_and_a_folder(tmp_path):
    assert "No such file" in told(refusal(tmp_path / "gone.pem"))
    assert "directory" in told(refusal(tmp_path))


@pytest.mark.parametrize(
    ("reference", "environ", "what"),
    [
        ("env://UNSET", {}, "not set"),
        ("env://EMPTY", {"EMPTY": ""}, "not set"),
        ("env://9", {}, "name of an environment variable"),
        ("env://BAD", {"BAD": "!!"}, "neither PEM nor base64"),
        ("env://BAD", {"BAD": "AAAA"}, "no PEM block"),
    ],
)
def test_environment_variables_that_hold_no_key(reference, environ, what):
    assert what in told(refusal(reference, environ))


def test_no_key_is_ever_repeated(written):
    """A key in the wrong place stands in no message: not as path, not as name, not as value."""
    secret = private_pem(P256)
    body = b"".join(secret.splitlines()[1:-1]).decode()
    packed = base64.b64encode(secret).decode()
    misplaced = [
        (secret.decode(), {}),
        (packed, {}),
        (body, {}),
        (f"env://{packed}", {}),
        (f"env://{body}", {}),
        (f"env://{secret.hex()}", {}),
        ("env://K", {"K": body}),
        ("env://K", {"K": packed[:-8]}),
        ("env://K", {"K": secret.decode().replace("KEY", "POEM")}),
        (str(written(secret[:-40])), {}),
        (str(written(private_pem(P256, PASSWORD.encode()))), {"PACKAGER_KEY_PASSWORD": "hunter2"}),
    ]
    for reference, environ in misplaced:
        message = told(refusal(reference, environ))
        for piece in (body[20:60], packed[40:80], "hunter2"):
            assert piece not in message


def test_a_signer_shows_nothing_of_its_key(written):
    signer = open_signer(str(written(private_pem(P256))), {})
    assert str(P256.private_numbers().private_value) not in f"{signer!r} {signer}"


# --- public keys


def test_a_public_key_has_the_fingerprint_of_its_der(written):
    key = read_public_key(written(public_pem(P256)))
    assert key.pem == public_pem(P256)
    assert key.fingerprint.startswith("sha256:")
    assert base64.b64decode(key.hint).hex() == key.fingerprint.removeprefix("sha256:")
    assert key == PublicKey.of_pem(public_pem(P256), "here")


@pytest.mark.parametrize(
    ("pem", "what"),
    [
        (private_pem(P256), "a private key was given"),
        (private_pem(P256, b"x"), "a private key was given"),
        (public_pem(RSA), "an RSA key"),
        (public_pem(P224), "secp224r1"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "damaged"),
        (b"", "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_public_key(written, pem, what):
    with pytest.raises(InputError) as caught:
        read_public_key(written(pem))
    assert what in told(caught.value)


# --- making keys


def test_generated_keys_work_and_are_private(tmp_path):
    pair = generate_key(tmp_path / "keys" / "site.pem", None)
    assert stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    assert stat.S_IMODE(pair.public.stat().st_mode) == 0o644
    assert pair.public == tmp_path / "keys" / "site.pub"
    key = read_public_key(pair.public)
    key.verify(open_signer(str(pair.private), {}).sign(b"x"), b"x")
    assert key.fingerprint == pair.fingerprint
    assert sorted(path.name for path in pair.private.parent.iterdir()) == ["site.pem", "site.pub"]


def test_an_encrypted_key_opens_only_with_its_password(tmp_path):
    pair = generate_key(tmp_path / "site.pem", PASSWORD.encode())
    assert b"ENCRYPTED" in pair.private.read_bytes()
    assert open_signer(str(pair.private), OPENED)
    assert "no password" in told(refusal(pair.private))


@pytest.mark.parametrize("existing", ["site.pem", "site.pub"])
def test_nothing_is_overwritten(tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    with pytest.raises(OutputError):
        generate_key(tmp_path / "site.pem", None)
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


def test_what_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    """Another process writes site.pub between the check and the writing."""
    real = key_files.refuse_existing

    def then_written(path):
        real(path)
        if path.name == "site.pub":
            path.write_text("precious")
            monkeypatch.setattr(key_files, "refuse_existing", real)

    monkeypatch.setattr(key_files, "refuse_existing", then_written)
    with pytest.raises(OutputError):
        generate_key(tmp_path / "site.pem", None)
    assert [path.name for path in tmp_path.iterdir()] == ["site.pub"]
    assert (tmp_path / "site.pub").read_text() == "precious"


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(key_files.os, "link", no_links)
    pair = generate_key(tmp_path / "site.pem", None)
    assert stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    assert open_signer(str(pair.private), {})
    assert len(list(tmp_path.iterdir())) == 2


def test_names_and_passwords_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="a private key must not"):
        generate_key(tmp_path / "site.pub", None)
    with pytest.raises(InputError, match="password is empty"):
        generate_key(tmp_path / "site.pem", b"")
    assert list(tmp_path.iterdir()) == []
