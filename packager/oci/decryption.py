"""Opens encrypted layers with the key that is held in the country (ocicrypt).

Nothing of a layer is used before its end was reached: only then is it known whether the HMAC and
the digest of the plain bytes are right. What comes out is the plain image, whose configuration,
and with it the id that engines show, is the signed one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from packager.digest import CHUNK, Digest
from packager.domain.artifact import Descriptor, Image, Layer, MediaType
from packager.errors import InputError, VerificationError
from packager.oci.blobs import BlobFolder
from packager.oci.encryption import CIPHER, KEYS_ANNOTATION, OPTIONS_ANNOTATION, SUFFIX
from packager.oci.image import manifest_bytes

PASSWORD_VARIABLE = "PACKAGER_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not a password
MAX_WRAPPED = 64 << 10
MAX_RECIPIENTS = 64


class DecryptionKey:
    """A private key in memory. It has no repr that could show it."""

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        """A PEM private key, RSA or elliptic curve; raises InputError for anything else."""
        from jwcrypto import jwk

        password = environ.get(PASSWORD_VARIABLE)
        try:
            data = path.read_bytes()[: 64 << 10]
            secret = password.encode() if password and b"ENCRYPTED" in data else None
            key = load_pem_private_key(data, secret)
        except OSError as error:
            raise _no_key(path, error.strerror or str(error)) from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _no_key(path, "no private key in PEM, or another password") from None
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise _no_key(path, "a key of another kind")
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._key = jwk.JWK.from_pem(pem)

    def unwrap(self, wrapped: str, where: str) -> dict[str, Any]:
        """What the one JWE that is for this key holds; raises VerificationError when none is."""
        from jwcrypto import jwe
        from jwcrypto.common import JWException

        tokens = wrapped.split(",")
        if len(tokens) > MAX_RECIPIENTS or len(wrapped) > MAX_RECIPIENTS * MAX_WRAPPED:
            raise VerificationError("too many recipients", where=where)
        for text in tokens:
            try:
                token = jwe.JWE()
                token.deserialize(base64.b64decode(text, validate=True).decode(), self._key)
                found = json.loads(token.payload)
            except (JWException, ValueError, TypeError, RecursionError, binascii.Error):
                continue  # for another recipient, or for nobody
            if isinstance(found, dict):
                return found
        raise VerificationError(
            "the layer is not encrypted for this key",
            where=where,
            next_step="give the private key of a recipient that the release names",
        )


def decrypt_image(image: Image, key: DecryptionKey, blobs: BlobFolder) -> Image:
    """The plain image, its layers and its manifest in `blobs`; itself when nothing is encrypted.

    Raises VerificationError when the key is not a recipient's, or a layer is another than the one
    that was encrypted.
    """
    layers = [
        decrypt_layer(layer, key, blobs) if layer.descriptor.media_type.endswith(SUFFIX) else layer
        for layer in image.layers
    ]
    data = manifest_bytes(image.config, layers)
    manifest = Descriptor(MediaType.MANIFEST, blobs.put(data), len(data))
    return replace(image, manifest=manifest, layers=tuple(layers))


def decrypt_layer(layer: Layer, key: DecryptionKey, blobs: BlobFolder) -> Layer:
    """One layer, in constant memory; it is stored only when all of it is right."""
    where = str(layer.descriptor.digest)
    annotations = dict(layer.descriptor.annotations)
    secret = key.unwrap(annotations.pop(KEYS_ANNOTATION, ""), where)
    symmetric, nonce, plain = _secrets(secret, where)
    expected = _public_mac(annotations.pop(OPTIONS_ANNOTATION, ""), where)
    decryptor = Cipher(algorithms.AES256(symmetric), modes.CTR(nonce)).decryptor()
    mac = hmac.new(symmetric, digestmod=hashlib.sha256)
    with layer.blob.open("rb") as source, blobs.incoming() as target:
        while chunk := source.read(CHUNK):
            mac.update(chunk)
            target.write(decryptor.update(chunk))
        other = layer.descriptor.media_type == MediaType.LAYER_TAR_ENCRYPTED and (
            plain != layer.diff_id  # a plain tar is its own diff_id, which the configuration names
        )
        if other or not hmac.compare_digest(mac.digest(), expected) or target.digest != plain:
            raise VerificationError(
                "the layer is not what was encrypted", where=where, expected=str(plain)
            )
    descriptor = Descriptor(
        layer.descriptor.media_type.removesuffix(SUFFIX), plain, target.size, annotations
    )
    return replace(layer, descriptor=descriptor, blob=blobs.path(plain), plain=None)


def _secrets(secret: Mapping[str, Any], where: str) -> tuple[bytes, bytes, Digest]:
    try:
        key = base64.b64decode(secret["symkey"], validate=True)
        nonce = base64.b64decode(secret["cipheroptions"]["nonce"], validate=True)
        plain = Digest.parse(secret["digest"])
        if (len(key), len(nonce)) != (32, 16):
            raise ValueError("another length")
    except (ValueError, KeyError, TypeError):
        raise VerificationError("the layer's key cannot be understood", where=where) from None
    return key, nonce, plain


def _public_mac(text: str, where: str) -> bytes:
    try:
        options = json.loads(base64.b64decode(text[:MAX_WRAPPED], validate=True))
        if options["cipher"] != CIPHER:
            raise ValueError("another cipher")
        return base64.b64decode(options["hmac"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise VerificationError(
            "how the layer is encrypted cannot be understood", where=where, expected=CIPHER
        ) from None


def _no_key(path: Path, got: str) -> InputError:
    return InputError(
        "the key cannot be used to decrypt",
        where=str(path),
        expected="a private key in PEM: RSA or elliptic curve",
        got=got,
        next_step=f"an encrypted key is opened with ${PASSWORD_VARIABLE}",
    )
