"""What an encrypted image is when it is opened: attested about the encrypted one.

Encryption takes a fresh key, so the signed image has another digest in every build. The attestation
ties it to the plain image, which is reproducible, and to what comes out of each layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packager.digest import Digest
from packager.domain.artifact import Image


def encryption_predicate(image: Image, plain_manifest: Digest) -> dict[str, Any]:
    """`plain_manifest` is the digest of the manifest that the opened image has."""
    return {
        "scheme": "ocicrypt",
        "plainManifest": str(plain_manifest),
        "layers": [
            {
                "encrypted": str(layer.descriptor.digest),
                "plain": layer.plain.as_dict(),
                "diffId": str(layer.diff_id),
            }
            for layer in image.layers
            if layer.plain
        ],
    }


def attested_layers(predicate: Mapping[str, Any]) -> dict[str, str]:
    """Digest of an encrypted layer → its diff_id. Raises ValueError for another shape."""
    match predicate:
        case {"scheme": "ocicrypt", "plainManifest": str(manifest), "layers": list(layers)}:
            Digest.parse(manifest)
            return dict(_layer(entry) for entry in _objects(layers))
        case _:
            raise ValueError("not a statement about an encrypted image")


def _layer(entry: Mapping[str, Any]) -> tuple[str, str]:
    match entry:
        case {"encrypted": str(encrypted), "plain": {"digest": str(plain)}, "diffId": str(diff_id)}:
            for text in (encrypted, plain, diff_id):
                Digest.parse(text)
            return encrypted, diff_id
        case _:
            raise ValueError("a layer is not exactly encrypted, plain and diffId")


def _objects(values: Sequence[Any]) -> list[dict[str, Any]]:
    if not all(isinstance(value, dict) for value in values):
        raise ValueError("a layer is no object")
    return list(values)
