"""Signs with a key that never leaves a token: an HSM, a smart card, SoftHSM2 (PKCS #11).

A reference is an RFC 7512 URI: `pkcs11:token=site;object=signing`. The module, which is the token's
own library, comes from `?module-path=` or $PACKAGER_PKCS11_MODULE; the PIN from
$PACKAGER_PKCS11_PIN alone, since others of the machine can read a command line. ECDSA in a token
takes fresh randomness, so two signings of one release differ in their signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from packager.attest.key_parsing import not_a_key
from packager.digest import Digest
from packager.errors import InputError, UnavailableError

SCHEME = "pkcs11:"
MODULE_VARIABLE = "PACKAGER_PKCS11_MODULE"
PIN_VARIABLE = "PACKAGER_PKCS11_PIN"
_EXAMPLE = "pkcs11:token=site;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so"
_KNOWN = frozenset({"token", "object", "id", "serial", "type", "slot-id"})


class TokenSigner:
    """An ECDSA P-256 key in a token. A session is opened for each signature, and closed."""

    def __init__(self, reference: str, environ: Mapping[str, str]) -> None:
        """Raises InputError for a reference or token that cannot be used, UnavailableError when
        the token does not answer."""
        self._path, self._query = _parsed(reference)
        self._where = reference.partition("?")[0]
        module = self._query.get("module-path") or environ.get(MODULE_VARIABLE)
        if not module:
            raise InputError(
                "the token's module is not named",
                where=self._where,
                expected=f"?module-path= in the URI, or ${MODULE_VARIABLE}",
                next_step=f"name the library that came with the token: {_EXAMPLE}",
            )
        self._module = module
        self._pin = environ.get(PIN_VARIABLE)
        self._public = self._with_session(self._read_public)

    def sign(self, data: bytes) -> bytes:
        """DER-encoded ECDSA signature over SHA-256 of `data`, which is hashed here."""
        digest = bytes.fromhex(Digest.of(data).hex)
        return self._with_session(lambda session: self._sign(session, digest))

    def public_key_pem(self) -> bytes:
        return self._public

    def _with_session(self, work: Any) -> bytes:
        import pkcs11

        try:
            token = pkcs11.lib(self._module).get_token(
                token_label=self._path.get("token"), token_serial=_bytes(self._path.get("serial"))
            )
            with token.open(user_pin=self._pin) as session:
                found: bytes = work(session)
                return found
        except pkcs11.exceptions.PinIncorrect:
            raise self._refusal(
                "the token refuses the PIN", f"the PIN in ${PIN_VARIABLE}"
            ) from None
        except (pkcs11.exceptions.NoSuchToken, pkcs11.exceptions.MultipleTokensReturned) as error:
            raise self._refusal("the token is not there, or not the only one", str(error)) from None
        except (pkcs11.exceptions.NoSuchKey, pkcs11.exceptions.MultipleObjectsReturned) as error:
            raise self._refusal(
                "the key is not in the token, or not the only one of that name",
                f"a key pair named {self._path.get('object')!r}, and the PIN in ${PIN_VARIABLE}",
                str(error),
            ) from None
        except (pkcs11.exceptions.PKCS11Error, RuntimeError) as error:
            raise UnavailableError(
                "the token does not answer",
                where=f"{self._where} by {self._module}",
                got=f"{type(error).__name__}: {error}".rstrip(": "),
                next_step="check that the token is plugged in and the module is its own",
            ) from None

    def _sign(self, session: Any, digest: bytes) -> bytes:
        import pkcs11
        from pkcs11.util.ec import encode_ecdsa_signature

        key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, **self._named())
        der: bytes = encode_ecdsa_signature(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        return der

    def _read_public(self, session: Any) -> bytes:
        import pkcs11
        from pkcs11.util.ec import encode_ec_public_key

        from packager.attest.keys import PublicKey

        key = session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, **self._named())
        if key.key_type is not pkcs11.KeyType.EC:
            raise not_a_key(self._where, f"a key of type {key.key_type.name} in the token")
        try:
            found = PublicKey.of_der(encode_ec_public_key(key))
        except ValueError as error:
            raise not_a_key(self._where, str(error)) from None
        if found.algorithm.name != "ecdsa-p256":
            raise not_a_key(self._where, f"a key for {found.algorithm.name} in the token")
        return found.pem

    def _named(self) -> dict[str, Any]:
        return {"label": self._path.get("object"), "id": _bytes(self._path.get("id"))}

    def _refusal(self, what: str, expected: str, got: str | None = None) -> InputError:
        return InputError(
            what,
            where=self._where,
            expected=expected,
            got=got or None,
            next_step="list what is there: pkcs11-tool --module MODULE --list-objects",
        )


def _parsed(reference: str) -> tuple[dict[str, str], dict[str, str]]:
    """Path attributes and query attributes (RFC 7512 §2.3)."""
    path, _, query = reference.removeprefix(SCHEME).partition("?")
    found = {}
    for part in path.split(";"):
        name, equals, value = part.partition("=")
        if not equals or name not in _KNOWN:
            raise InputError(
                "the name of the token's key cannot be understood",
                expected=_EXAMPLE,
                got=f"{name[:40]!r}",
            )
        found[name] = unquote(value, errors="strict")
    asked = dict(parse_qsl(query, keep_blank_values=True))
    if "pin-value" in asked or "pin-source" in asked:
        raise InputError(
            "a PIN does not belong on a command line, where others can read it",
            expected=f"the PIN in ${PIN_VARIABLE}",
            next_step=f"read -rs {PIN_VARIABLE} && export {PIN_VARIABLE}",
        )
    return found, asked


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1", errors="replace")
