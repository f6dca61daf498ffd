"""Package URLs (package-url/purl-spec): one name for a package in every tool that reads SBOMs."""

from __future__ import annotations

import re
from urllib.parse import quote

from packager.domain.artifact import Image
from packager.domain.lock import LockedPackage, LockedWheel


def debian(package: LockedPackage) -> str:
    """`pkg:deb/debian/libc6@2.41-12?arch=amd64`"""
    versioned = f"{_part(package.name)}@{_part(package.version)}"
    return f"pkg:deb/debian/{versioned}?arch={_part(package.architecture)}"


def wheel(found: LockedWheel) -> str:
    """`pkg:pypi/numpy@2.1.0`; names as PEP 503 writes them."""
    name = re.sub(r"[-_.]+", "-", found.name).lower()
    return f"pkg:pypi/{_part(name)}@{_part(found.version)}"


def image(built: Image, repository: str) -> str:
    """`pkg:oci/filetype@sha256%3A…?arch=amd64&repository_url=registry.example.de/ml/filetype`"""
    name = repository.rpartition("/")[2].lower()
    return (
        f"pkg:oci/{_part(name)}@{quote(str(built.manifest.digest), safe='')}"
        f"?arch={_part(built.platform.architecture)}&repository_url={quote(repository, safe='/:')}"
    )


def _part(text: str) -> str:
    """Percent-encoded, with the colon left as it is, which the specification asks for."""
    return quote(text, safe=":")
