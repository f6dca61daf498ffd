"""Encrypts the model's layer for whoever holds a key in the country (ocicrypt, as imgcrypt and
containers/image read it).

The bytes are encrypted with AES-256-CTR under a fresh key and authenticated with HMAC-SHA256; the
fresh key is wrapped for each recipient in a JWE of its own (RFC 7516). skopeo, podman, CRI-O and
containerd open it. Configuration and manifest stay readable, and so do all other layers. A fresh
key means that two builds differ: what stays the same is the plain image, whose digest is attested.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from packager.canonical import dumps
from packager.digest import CHUNK, Digest
from packager.domain.artifact import Descriptor, Image, Layer, MediaType
from packager.errors import InputError
from packager.oci.blobs import BlobFolder
from packager.oci.image import manifest_bytes

SUFFIX = "+encrypted"
CIPHER = "AES_256_CTR_HMAC_SHA256"
KEYS_ANNOTATION = "org.opencontainers.image.enc.keys.jwe"
OPTIONS_ANNOTATION = "org.opencontainers.image.enc.pubopts"
MODEL = "model"
MIN_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who may open it: a public key, as PEM, and how a key is wrapped for it."""

    pem: bytes
    algorithm: str
    fingerprint: str


def read_recipient(path: Path) -> Recipient:
    """A PEM public key: RSA from 2048 bits, or P-256, P-384, P-521. Raises InputError."""
    try:
        data = path.read_bytes()[: 64 << 10]
        key = load_pem_public_key(data)
    except OSError as error:
        raise InputError(
            "the recipient's key cannot be read", where=str(path), got=error.strerror
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _no_recipient(path, "no public key in PEM") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        algorithm = "RSA-OAEP"
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        algorithm = "ECDH-ES+A256KW"
    else:
        raise _no_recipient(path, f"a key of another kind: {type(key).__name__}")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Recipient(pem, algorithm, str(Digest.of(der)))


def encrypt_image(image: Image, recipients: Sequence[Recipient], blobs: BlobFolder) -> Image:
    """The image with its model's layer encrypted, and a manifest that says so, in `blobs`.

    Configuration and diff_ids stay, so whoever decrypts gets the plain image's id.
    """
    layers = [
        encrypt_layer(layer, recipients, blobs) if layer.kind == MODEL else layer
        for layer in image.layers
    ]
    data = manifest_bytes(image.config, layers)
    manifest = Descriptor(MediaType.MANIFEST, blobs.put(data), len(data))
    return replace(image, manifest=manifest, layers=tuple(layers))


def plain_manifest(image: Image) -> bytes:
    """The manifest that the image has when its layers are decrypted."""
    plain = [
        replace(layer, descriptor=layer.plain) if layer.plain else layer for layer in image.layers
    ]
    return manifest_bytes(image.config, plain)


def encrypt_layer(layer: Layer, recipients: Sequence[Recipient], blobs: BlobFolder) -> Layer:
    """The layer for `recipients`, in constant memory; `plain` keeps what it was."""
    key, nonce = os.urandom(32), os.urandom(16)
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(nonce)).encryptor()
    mac = hmac.new(key, digestmod=hashlib.sha256)
    with layer.blob.open("rb") as source, blobs.incoming() as target:
        while chunk := source.read(CHUNK):
            hidden = encryptor.update(chunk)
            mac.update(hidden)
            target.write(hidden)
    secret = dumps(
        {
            "symkey": _text(key),
            "digest": str(layer.descriptor.digest),
            "cipheroptions": {"nonce": _text(nonce)},
        }
    )
    public = {"cipher": CIPHER, "hmac": _text(mac.digest()), "cipheroptions": {}}
    wrapped = [_text(_jwe(secret, recipient).encode()) for recipient in recipients]
    descriptor = Descriptor(
        layer.descriptor.media_type + SUFFIX,
        target.digest,
        target.size,
        annotations={
            **layer.descriptor.annotations,
            KEYS_ANNOTATION: ",".join(wrapped),
            OPTIONS_ANNOTATION: _text(dumps(public)),
        },
    )
    return replace(
        layer, descriptor=descriptor, blob=blobs.path(target.digest), plain=layer.descriptor
    )


def is_encrypted(image: Image) -> bool:
    """Whether a layer of it needs a key."""
    return any(layer.descriptor.media_type.endswith(SUFFIX) for layer in image.layers)


def _jwe(secret: bytes, recipient: Recipient) -> str:
    from jwcrypto import jwe, jwk

    header: dict[str, Any] = {"alg": recipient.algorithm, "enc": "A256GCM"}
    token = jwe.JWE(secret, protected=dumps(header).decode())
    token.add_recipient(jwk.JWK.from_pem(recipient.pem))
    serialized: str = token.serialize()
    return serialized


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _no_recipient(path: Path, got: str) -> InputError:
    return InputError(
        "nothing can be encrypted for this key",
        where=str(path),
        expected=f"a public key in PEM: RSA from {MIN_RSA_BITS} bits, P-256, P-384 or P-521",
        got=got,
        next_step="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out in.pem && "
        "openssl pkey -in in.pem -pubout -out in.pub",
    )
