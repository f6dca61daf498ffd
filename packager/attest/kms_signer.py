"""Signs with a key that a cloud's key service or a Vault holds, by way of securesystemslib.

  awskms:alias/site                                 gcpkms:projects/…/cryptoKeyVersions/1
  azurekms://site.vault.azure.net/keys/signing      hv:signing   (HashiCorp Vault, transit)

This adapter is tested against a stand-in for the service, never against a cloud: try it before you
rely on it. Credentials come from where each vendor's library looks for them.
"""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import urlsplit

from packager.attest.key_parsing import not_a_key
from packager.errors import InputError, UnavailableError

SCHEMES = ("awskms:", "gcpkms:", "azurekms:", "hv:")


class ServiceSigner:
    """A key in a key service; every signature is a request to it."""

    def __init__(self, reference: str) -> None:
        """Raises InputError for a reference that cannot be used, UnavailableError when the service
        does not answer."""
        library: Any = importlib.import_module("securesystemslib.signer")
        self._where = reference
        kind = library.SIGNER_FOR_URI_SCHEME[urlsplit(reference).scheme]
        try:
            uri, key = kind.import_(*_names(reference))
            self._signer = library.Signer.from_priv_key_uri(uri, key)
        except (ImportError, _unsupported()) as error:
            raise InputError(
                "the library of this key service is not installed",
                where=reference,
                got=str(error)[:200],
                next_step="pip install 'securesystemslib[awskms,gcpkms,azurekms,vault]'",
            ) from None
        except Exception as error:  # whatever a vendor's library raises
            raise self._unavailable(error) from None
        public = key.keyval.get("public")
        if not isinstance(public, str) or "BEGIN PUBLIC KEY" not in public:
            raise not_a_key(reference, "no public key from the service")
        self._public = public.encode()

    def sign(self, data: bytes) -> bytes:
        """A signature over `data`, made by the service."""
        try:
            return bytes.fromhex(self._signer.sign(data).signature)
        except Exception as error:  # whatever a vendor's library raises
            raise self._unavailable(error) from None

    def public_key_pem(self) -> bytes:
        return self._public

    def _unavailable(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            "the key service does not answer",
            where=self._where,
            got=f"{type(error).__name__}: {error}"[:300],
            next_step="check the name of the key, your credentials and the network",
        )


def _names(reference: str) -> list[str]:
    """What securesystemslib wants to know to find the key."""
    found = urlsplit(reference)
    if found.scheme == "azurekms":
        vault, parts = found.netloc.partition(".")[0], found.path.strip("/").split("/")
        if not vault or len(parts) < 2 or parts[0] != "keys":
            raise InputError(
                "the name of the key cannot be understood",
                where=reference,
                expected="azurekms://VAULT.vault.azure.net/keys/NAME",
            )
        return [vault, parts[1]]
    if not found.path:
        raise InputError("the key is not named", where=reference, expected=f"{found.scheme}:NAME")
    return [found.path]


def _unsupported() -> Any:
    from securesystemslib.exceptions import UnsupportedLibraryError

    return UnsupportedLibraryError
