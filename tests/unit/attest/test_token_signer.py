"""A key in a token signs what everyone verifies: SoftHSM2 stands for the HSM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from engines import missing
from small_release import make_release

from packager.attest.keys import open_signer, open_signers, public_key_of
from packager.attest.verifying import verify
from packager.errors import InputError, UnavailableError

pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PIN = "4711-secret"
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A token `site` with key pairs: P-256 `signing`, P-384 `wide`, RSA `old`."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    if not module:
        missing("SoftHSM2 is not installed (Debian: softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
    command = ["softhsm2-util", "--init-token", "--free", "--label", "site"]
    subprocess.run([*command, "--pin", PIN, "--so-pin", "0000"], check=True, capture_output=True)
    from pkcs11.util.ec import encode_named_curve_parameters

    library = pkcs11.lib(module)
    library.reinitialize()
    with library.get_token(token_label="site").open(rw=True, user_pin=PIN) as session:
        for name, curve in (("signing", "secp256r1"), ("wide", "secp384r1")):
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            )
            parameters.generate_keypair(store=True, label=name)
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="old")
    yield {"PACKAGER_PKCS11_PIN": PIN, "PACKAGER_PKCS11_MODULE": module}
    patch.undo()


def test_what_the_token_signs_verifies(token):
    signer = open_signer("pkcs11:token=site;object=signing", token)
    public_key_of(signer).verify(signer.sign(b"data"), b"data")
    assert PIN not in f"{signer!r}"


def test_the_module_may_stand_in_the_uri(token):
    reference = f"pkcs11:token=site;object=signing?module-path={token['PACKAGER_PKCS11_MODULE']}"
    environ = {"PACKAGER_PKCS11_PIN": PIN}
    assert open_signers([reference], environ)


def test_a_whole_release_signed_by_the_token(token, tmp_path):
    signer = open_signer("pkcs11:token=site;object=signing", token)
    release = make_release(tmp_path, signer=signer)
    report = verify(release.folder, public_key_of(signer))
    assert report.keys == (public_key_of(signer).fingerprint,)
    (tmp_path / "site.pub").write_bytes(signer.public_key_pem())
    command = ["openssl", "dgst", "-sha256", "-verify", tmp_path / "site.pub", "-signature"]
    files = [release.folder / "release.sig", release.folder / "release.json"]
    subprocess.run([*command, *files], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("reference", "changes", "what"),
    [
        ("pkcs11:token=site;object=gone", {}, "the key is not in the token"),
        ("pkcs11:token=gone;object=signing", {}, "the token is not there"),
        ("pkcs11:token=site;object=signing", {"PACKAGER_PKCS11_PIN": "1234"}, "refuses the PIN"),
        ("pkcs11:token=site;object=signing", {"PACKAGER_PKCS11_MODULE": ""}, "module is not named"),
        ("pkcs11:token=site;object=wide", {}, "this is not a key"),
        ("pkcs11:token=site;object=old", {}, "this is not a key"),
        ("pkcs11:tokn=site", {}, "cannot be understood"),
        ("pkcs11:", {}, "cannot be understood"),
        ("pkcs11:object=signing?pin-value=1234", {}, "PIN does not belong"),
    ],
)
def test_tokens_that_cannot_sign_say_why(token, reference, changes, what):
    with pytest.raises(InputError) as caught:
        open_signer(reference, token | changes)
    assert what in caught.value.findings[0].what
    told = " ".join(caught.value.findings[0].as_dict().values())
    assert PIN not in told
    assert "1234" not in told


def test_a_module_that_is_none_is_unavailable(token, tmp_path):
    (tmp_path / "module.so").write_bytes(b"no library")
    reference = f"pkcs11:token=site;object=signing?module-path={tmp_path / 'module.so'}"
    with pytest.raises(UnavailableError):
        open_signer(reference, token)
