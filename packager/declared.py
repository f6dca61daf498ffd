"""Reads what only the user knows of `release.yaml`: places, hosts, keys, the base, legal paths.

None of it can be seen in a file of the release, so it is believed as written, put under the
signature, and called *as you declared* by every decision that rests on it.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from packager.domain.release import BaseImage, Declarations
from packager.domain.target import Region
from packager.domain.transfer import DeclaredTransfer
from packager.section import Section

COUNTRY = re.compile(r"[A-Z]{2}")
_IN_REGISTRY = re.compile(r"(?!\.)(localhost|[^/]*[.:][^/]*)/")
_MECHANISM = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_REGION = "such as aws/eu-central-1, or site/<name> for a room of your own"
_ISO = "an ISO 3166 code such as SA"


def read_declarations(root: Section, origin: str | None, signing: Section) -> Declarations:
    """What the user says of places and hosts that no file can show; `origin` is the model's."""
    hosting = root.section("hosting")
    held = hosting.texts("certifications")
    return Declarations(
        hosting_certifications=held if "certifications" in hosting else None,
        model_origin=origin,
        log_region=_region(root.section("logs")),
        key_location=country(signing, "location"),
        telemetry_region=_region(root.section("telemetry")),
        transfers=tuple(_transfer(entry) for entry in root.sections("transfers")),
    )


def read_base(root: Section, folder: Path) -> BaseImage:
    """`base: {reference: host/name@sha256:…, origin: DE}`; nothing stands for no base at all.

    Paths are relative to `folder`.
    """
    section = root.section("base")
    reference = section.optional_text("reference")
    origin = country(section, "origin")
    if reference is None:
        if origin is not None:
            section.note("origin", "a base has an origin only when there is a base")
        return BaseImage()
    digest = reference.partition("@")[2] or None
    if digest is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        section.note("reference", "no digest", expected="@sha256: and 64 hex digits", got=digest)
    return base_named(reference, folder, origin)


def base_named(reference: str, folder: Path, origin: str | None) -> BaseImage:
    """A base by its name: `registry.example.de/name:tag` when it begins with a registry (a dot, a
    port, or localhost before the first slash), else the path of a folder or archive."""
    named, _, digest = reference.partition("@")
    if _IN_REGISTRY.match(named):
        return BaseImage(reference, digest or None, origin)
    pinned = f"{Path(named).name}@{digest}" if digest else Path(named).name
    return BaseImage(pinned, digest or None, origin, folder / named)


def country(section: Section, key: str) -> str | None:
    """An ISO 3166 code, None when the key is not there."""
    if section.optional_text(key) is None:
        return None
    return section.parsed(key, _country, _ISO, "")


def _transfer(entry: Section) -> DeclaredTransfer:
    codes = entry.texts("to")
    for code in codes:
        if not COUNTRY.fullmatch(code):
            entry.note("to", f"{code!r} is no country", expected=_ISO)
    if not codes:
        entry.note("to", "a transfer goes somewhere", expected="ISO 3166 codes, such as [US]")
    return DeclaredTransfer(
        mechanism=entry.parsed(
            "mechanism", _mechanism, "a name such as eu/dpf; see `packager targets show eu`", ""
        ),
        to=tuple(sorted(set(codes))),
        recipient=entry.text("recipient"),
        document=entry.text("document"),
        dated=entry.parsed("dated", _day, "the day of the document, such as 2026-05-12", ""),
        where=entry.where(),
    )


def _region(section: Section) -> Region | None:
    text = section.optional_text("region")
    if text is None:
        return None
    try:
        return Region.parse(text)
    except ValueError:
        section.note(
            "region", "a region is always provider/region", expected=_REGION, got=repr(text)
        )
        return None


def _country(text: str) -> str:
    if not COUNTRY.fullmatch(text):
        raise ValueError(text)
    return text


def _mechanism(text: str) -> str:
    if not _MECHANISM.fullmatch(text):
        raise ValueError(text)
    return text


def _day(text: str) -> str:
    return datetime.date.fromisoformat(text).isoformat()
