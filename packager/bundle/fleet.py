"""Many sites: what each has, how far it is from a release, and what it needs to be brought.

A site tells what it has in the file that `packager status --json` (or `install.sh status --json`)
writes and somebody carries back. It is a report, not a proof: at worst a wrong bundle is made, and
the site refuses it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from packager.digest import Digest
from packager.domain.version import counter_of
from packager.errors import InputError

MAX_REPORT = 1 << 20


class Drift(StrEnum):
    """Where a site stands against a release."""

    CURRENT = "current"
    BEHIND = "behind"
    AHEAD = "ahead"
    OTHER = "other release"
    EMPTY = "nothing installed"
    UNKNOWN = "no report"
    UNFIT = "no target"


@dataclass(frozen=True, slots=True)
class Installed:
    """A version that lies at a site; `release` is the digest of its release.json, `stock` whether
    the site kept its files, None where the report does not say."""

    version: str
    release: Digest
    target: str
    state: str
    stock: bool | None = None


@dataclass(frozen=True, slots=True)
class SiteReport:
    """What a site said of itself. `ready` is whether its server answered then, `time` when that
    was by its clock (RFC 3339), empty in the report of an older packager."""

    site: str
    release: str
    ready: bool
    installed: tuple[Installed, ...]
    time: str = ""

    @property
    def serving(self) -> Installed | None:
        """The version in service."""
        return next((one for one in self.installed if one.state == "serving"), None)

    @property
    def kept(self) -> tuple[str, ...]:
        """The other versions that lie there, which a rollback could start."""
        return tuple(one.version for one in self.installed if one != self.serving)

    @classmethod
    def parse(cls, data: bytes, where: str) -> SiteReport:
        """Read `status --json`; raises InputError for anything else."""
        try:
            if len(data) > MAX_REPORT:
                raise ValueError(f"longer than {MAX_REPORT} bytes")
            return cls._read(json.loads(data))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                "this is no report of a site",
                where=where,
                expected="what `packager status --json` writes",
                got=f"{type(error).__name__}: {str(error)[:200]}",
                next_step="let the site write it again, or remove it: the site is then brought all",
            ) from None

    @classmethod
    def _read(cls, found: Mapping[str, Any]) -> SiteReport:
        return cls(
            str(found["site"]),
            str(found["release"]),
            found["ready"] is True,
            tuple(
                Installed(
                    str(slot["version"]),
                    _digest(str(slot["digest"])),
                    str(slot["target"]),
                    str(slot["state"]),
                    slot["stock"] is True if "stock" in slot else None,
                )
                for slot in found["slots"]
            ),
            _time(found.get("time", "")),
        )


@dataclass(frozen=True, slots=True)
class SiteStanding:
    """One row: a site, what it has, what it should have, and what travels there.

    `targets` are those of the release that fit the site; `keeps` are versions beside the one that
    it `has` in service, `reported` is when it said so; `bundle` is the file made for it, `size` its
    bytes, `base` the release that a delta stands on.
    """

    name: str
    jurisdiction: str
    region: str
    targets: tuple[str, ...]
    drift: Drift
    has: str
    ready: bool | None
    wants: str
    keeps: tuple[str, ...] = ()
    reported: str = ""
    bundle: str = ""
    size: int = 0
    base: str = ""

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "site": self.name,
            "jurisdiction": self.jurisdiction,
            "region": self.region,
            "targets": list(self.targets),
            "drift": self.drift.value,
            "has": self.has,
            "ready": self.ready,
            "wants": self.wants,
            "keeps": list(self.keeps),
            "reported": self.reported,
            "bundle": self.bundle,
            "size": self.size,
            "base": self.base,
        }


def drift_of(
    report: SiteReport | None, name: str, version: str, release: Digest, fits: bool
) -> Drift:
    """How a site stands against a release of `name` and `version`."""
    if not fits:
        return Drift.UNFIT
    if report is None:
        return Drift.UNKNOWN
    serving = report.serving
    if serving is None:
        return Drift.EMPTY
    if serving.release == release:
        return Drift.CURRENT
    there, wanted = counter_of(serving.version), counter_of(version)
    if report.release != name or there is None or wanted is None or there == wanted:
        return Drift.OTHER
    return Drift.BEHIND if there < wanted else Drift.AHEAD


def versions_of(sites: Sequence[SiteStanding], wanted: str) -> list[str]:
    """Every version that lies somewhere, and the wanted one, oldest first; what is no version by
    SemVer comes first, by name."""
    found = {site.has for site in sites if site.has} | {wanted}
    found.update(kept for site in sites for kept in site.keeps)
    return sorted(found, key=lambda version: (counter_of(version) or -1, version))


def _time(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"(?:[0-9TZ:.+-]{10,40})?", text):
        raise ValueError(f"time is {text!r}")
    return text


def _digest(text: str) -> Digest:
    return Digest.parse(text if text.startswith("sha256:") else f"sha256:{text}")
