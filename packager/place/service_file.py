"""What a replica does on each hardware profile: from a release's evidence, a file, or estimated.

A release carries a quality record for each hardware profile with the chosen candidate's latency and
rate, and the machine that they were measured on. Hardware that nobody measured is estimated from
the nearest measured one by peak rate and bandwidth, the slower of both; it is always told so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packager.document import read_document
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.placement import Service
from packager.errors import InputError
from packager.release_source import Files, read_bounded

API_VERSION = "packager/v1"
MAX_RECORD = 16 << 20
MOST_TOGETHER = 256
# What the server adds to each request: HTTP, tensors, handing over. Between 0.2 and 0.4 ms on an
# AMD EPYC (benchmarks/place), while the evidence of a release times the session alone.
SERVER_MS = 0.3


def read_services(file: Path) -> dict[str, Service]:
    """Hardware id → service, from a file of kind `ServiceRecords`. Raises InputError."""
    root = read_document(file)
    for key, expected in (("apiVersion", API_VERSION), ("kind", "ServiceRecords")):
        if root.text(key) != expected and key in root:
            root.note(key, f"wrong {key}", expected=expected)
    services: dict[str, Service] = {}
    for entry in root.sections("services", required=True):
        values = {key: entry.number(key) for key in ("p50_ms", "p99_ms", "per_second")}
        batch = entry.whole("batch", 1)
        service = Service(
            entry.text("hardware"),
            values["p50_ms"],
            values["p99_ms"],
            values["per_second"],
            entry.text("told"),
            batch,
            entry.optional_number("idle_ms"),
        )
        if not 1 <= batch <= MOST_TOGETHER:
            entry.note("batch", "out of range", expected=f"1 to {MOST_TOGETHER}", got=str(batch))
        given = values if service.idle_ms is None else {**values, "idle_ms": service.idle_ms}
        for key, value in given.items():
            if key in entry and not 0 < value < 1e9:
                entry.note(key, "out of range", expected="more than 0", got=f"{value:g}")
        if service.p99_ms < service.p50_ms:
            entry.note("p99_ms", "below the median", expected=f"at least {service.p50_ms:g}")
        if service.hardware in services:
            entry.note("hardware", f"{service.hardware} is given twice")
        services[service.hardware] = service
    root.finish()
    return services


def services_of_release(release: Files, hardware: Iterable[str]) -> dict[str, Service]:
    """Hardware id → service, from the quality records of a verified release.

    Raises InputError when no record names a measurement of its chosen candidate.
    """
    services = {}
    for name in sorted(set(hardware)):
        record = json.loads(read_bounded(release, f"evidence/quality/{name}.json", MAX_RECORD))
        if service := _from_record(record):
            services[name] = service
    if not services:
        raise InputError(
            "the release carries no measurement of its model",
            where=f"{release.location}/evidence/quality",
            next_step="name a file of figures: --service FILE",
        )
    return services


def _from_record(record: Mapping[str, Any]) -> Service | None:
    for candidate in record["candidates"]:
        if candidate["name"] == record["chosen"] and "measurement" in candidate:
            figures = candidate["measurement"]
            p50 = figures["latency_p50_ms"]
            return Service(
                record["hardware"],
                p50 + SERVER_MS,
                max(p50, figures["latency_p99_ms"]) + SERVER_MS,
                1000 / (1000 / figures["throughput_per_s"] + SERVER_MS),
                f"{record['where']}; the server's own {SERVER_MS} ms added",
                max(1, (record.get("batching") or {}).get("max_batch_size", 1)),
            )
    return None


def complete(
    known: Mapping[str, Service], wanted: Iterable[HardwareProfile], all_known: Mapping[str, Any]
) -> dict[str, Service]:
    """The services of `wanted`; those that nobody measured are estimated from one that somebody
    did, where both profiles say enough. `all_known` maps the ids in `known` to their profiles."""
    services = {}
    for profile in wanted:
        if profile.id in known:
            services[profile.id] = known[profile.id]
            continue
        guesses = [
            guess
            for name in sorted(known)
            if (guess := _estimate(known[name], all_known.get(name), profile)) is not None
        ]
        if guesses:
            services[profile.id] = min(guesses, key=lambda guess: guess.per_second)
    return services


def _estimate(
    service: Service, measured: HardwareProfile | None, profile: HardwareProfile
) -> Service | None:
    """`service` as it would be on `profile`, by the smaller of the ratios of peaks."""
    if measured is None or profile.unpackaged:
        return None
    ratios = []
    if measured.bandwidth_gb_s and profile.bandwidth_gb_s:
        ratios.append(profile.bandwidth_gb_s / measured.bandwidth_gb_s)
    for precision in (Precision.FP32, Precision.FP16):
        one, other = measured.precisions.get(precision), profile.precisions.get(precision)
        if one and other:
            ratios.append(other / one)
            break
    if len(ratios) < 2:
        return None
    ratio = min(ratios)
    return Service(
        profile.id,
        service.p50_ms / ratio,
        service.p99_ms / ratio,
        service.per_second * ratio,
        f"estimated for {profile.id} from {service.hardware} by the ratio {ratio:.2f} of its "
        f"peaks ({service.told})",
        service.batch,
        None if service.idle_ms is None else service.idle_ms / ratio,
    )
