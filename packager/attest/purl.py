"""Package URLs (package-url/purl-spec): one name for a package in every tool that reads SBOMs."""

from __future__ import annotations

import re
from urllib.parse import quote

from packager.domain.artifact import Image
from packager.domain.base import BaseLayers, BasePackage
from packager.domain.lock import LockedPackage, LockedWheel


def debian(package: LockedPackage) -> str:
    """`pkg:deb/debian/libc6@2.41-12?arch=amd64`"""
    versioned = f"{_part(package.name)}@{_part(package.version)}"
    return f"pkg:deb/debian/{versioned}?arch={_part(package.architecture)}"


def base_package(found: BasePackage) -> str:
    """`pkg:deb/ubuntu/libc6@2.39-0ubuntu8?arch=amd64`, `pkg:apk/…`, `pkg:pypi/…`"""
    if found.kind == "pypi":
        return _wheel(found.name, found.version)
    named = f"pkg:{found.kind}/{_part(found.distribution)}/{_part(found.name)}"
    arch = f"?arch={_part(found.architecture)}" if found.architecture else ""
    return f"{named}@{_part(found.version)}{arch}"


def base(found: BaseLayers) -> str:
    """`pkg:oci/debian@sha256%3A…`: no registry, since a mirror serves it as well."""
    name = found.name.rpartition("/")[2].partition(":")[0].lower()
    return f"pkg:oci/{_part(name)}@{quote(str(found.manifest), safe='')}"


def wheel(found: LockedWheel) -> str:
    """`pkg:pypi/numpy@2.1.0`; names as PEP 503 writes them."""
    return _wheel(found.name, found.version)


def _wheel(name: str, version: str) -> str:
    return f"pkg:pypi/{_part(re.sub(r'[-_.]+', '-', name).lower())}@{_part(version)}"


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
