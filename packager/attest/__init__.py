"""Signing, evidence and verifying.

Formats are those that stock tools read: sigstore bundles and classic cosign signatures (cosign,
skopeo, podman), DSSE and in-toto statements, CycloneDX, SLSA provenance, a raw ECDSA signature
(openssl) and a checksum list (sha256sum). `cryptography` is imported
here, and in `oci/encryption.py` and `oci/decryption.py` for layers.
"""
