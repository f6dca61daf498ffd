"""What an operator may set without a template: `--set name=value`. Everything else is decided.

Nothing here touches what holds the residency: images, places, networks and rights cannot be set.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from packager.errors import Finding, InputError

_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Overrides; None leaves the sizing's own figure. Memory in MiB, processors in whole cores.

    `prometheus_url` and `prometheus_namespace` are where the Prometheus operator puts it by
    default; the overlays for monitoring and KEDA use them.
    """

    replicas_minimum: int | None = None
    replicas_maximum: int | None = None
    memory_mib: int | None = None
    processors: int | None = None
    prometheus_url: str = "http://prometheus-operated.monitoring.svc:9090"
    prometheus_namespace: str = "monitoring"


def parse_settings(pairs: Sequence[str]) -> Settings:
    """Read `name=value` pairs, names with dots or dashes as one likes (`replicas.maximum=40`).

    Raises InputError with every pair that is none, unknown, set twice or out of its bounds.
    """
    settings = Settings()
    findings: list[Finding] = []
    seen: set[str] = set()
    for pair in pairs:
        written, equals, value = pair.partition("=")
        name = re.sub(r"[.-]", "_", written)
        where = f"--set {pair}"
        if not equals or name not in _READERS:
            findings.append(_unknown(written, where))
        elif name in seen:
            findings.append(Finding(f"{written} is set twice", where))
        else:
            seen.add(name)
            found = _READERS[name](value)
            if found is None:
                findings.append(Finding(f"no value for {written}", where, _EXPECTED[name], value))
            else:
                settings = replace(settings, **{name: found})  # type: ignore[arg-type]
    least, most = settings.replicas_minimum, settings.replicas_maximum
    if least is not None and most is not None and least > most:
        findings.append(
            Finding(
                "more replicas at least than at most", "--set replicas", got=f"{least} > {most}"
            )
        )
    if findings:
        raise InputError.of(findings)
    return settings


def _unknown(name: str, where: str) -> Finding:
    known = [field.name for field in fields(Settings)]
    close = difflib.get_close_matches(re.sub(r"[.-]", "_", name), known, 1)
    return Finding(
        f"{name!r} cannot be set",
        where,
        expected=", ".join(known),
        next_step=f"did you mean {close[0]}?" if close else "for all else use --templates DIR",
    )


def _number(value: str) -> int | None:
    return int(value) if value.isdecimal() and 0 < int(value) <= _MOST else None


def _url(value: str) -> str | None:
    return value if _URL.fullmatch(value) else None


def _label(value: str) -> str | None:
    return value if _LABEL.fullmatch(value) else None


_READERS: dict[str, Callable[[str], int | str | None]] = {
    "replicas_minimum": _number,
    "replicas_maximum": _number,
    "memory_mib": _number,
    "processors": _number,
    "prometheus_url": _url,
    "prometheus_namespace": _label,
}
_EXPECTED = {
    **dict.fromkeys(_READERS, f"a whole number from 1 to {_MOST}"),
    "prometheus_url": "an address such as http://prometheus.monitoring.svc:9090",
    "prometheus_namespace": "the name of a namespace",
}
