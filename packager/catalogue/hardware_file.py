"""Reads one file of `targets/hardware/`. A profile may extend another and state what differs.

A profile and its ancestors form a chain of documents; each value is taken from the nearest one that
states it. Node labels and the accelerator are taken key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from packager.catalogue.export_class import OTHER_BITS, export_class, total_processing_performance
from packager.catalogue.files import Kind, open_profile
from packager.catalogue.inheritance import refuse_cycle
from packager.domain.artifact import Platform
from packager.domain.hardware import (
    NO_WHEEL,
    Accelerator,
    Confidence,
    HardwareProfile,
    Precision,
    Proof,
    Wheel,
)
from packager.domain.target import DeploymentPlatform
from packager.section import Section, nearest

UNKNOWN = "unknown"
_PLATFORMS = ("linux/amd64", "linux/arm64")
_MARKETS = ("data center", "workstation", "edge")
Chain = Sequence[Section]


def read_hardware(file: Path, file_of: Callable[[str], Path]) -> HardwareProfile:
    """Read a profile and what it inherits. Raises InputError with all findings."""
    chain = _open(file, file_of, ())
    precisions = _precisions(chain)
    accelerator = _accelerator(chain)
    profile = HardwareProfile(
        id=file.stem,
        name=chain[0].text("name"),
        platform=_platform(chain),
        execution_provider=_at(chain, "execution_provider").text("execution_provider"),
        wheel=_wheel(chain),
        unpackaged=_unpackaged(chain),
        precisions=precisions,
        memory_gb=_at(chain, "memory_gb").number("memory_gb"),
        bandwidth_gb_s=_at(chain, "bandwidth_gb_s").optional_number("bandwidth_gb_s"),
        instructions=frozenset(_at(chain, "instructions").texts("instructions")),
        accelerator=accelerator,
        node_labels=_node_labels(chain),
        deployment_platforms=_deployment_platforms(chain),
        power_w=_at(chain, "power_w").optional_number("power_w"),
        price_class=_at(chain, "price_class").optional_text("price_class"),
        export_class=_export_class(chain, precisions) if accelerator else None,
        proven=chain[0].choice("proven", Proof, Proof.NEVER),
        proven_where=chain[0].optional_text("proven_where"),
        confidence=chain[0].choice("confidence", Confidence),
        sources=chain[0].texts("sources", ...),
    )
    if profile.proven is not Proof.NEVER and profile.proven_where is None:
        chain[0].note("proven", "what was proven says where", expected="proven_where: …")
    for document in reversed(chain):
        document.finish()
    return profile


def _open(file: Path, file_of: Callable[[str], Path], path: tuple[str, ...]) -> list[Section]:
    """The document and its ancestors, nearest first."""
    refuse_cycle(file.stem, path, str(file))
    document = open_profile(file, Kind.HARDWARE)
    if path:
        # An ancestor's keys that nearer documents override are never asked for; whether they are
        # known is judged when the ancestor itself is read.
        document.keys()
    parent = document.optional_text("extends")
    return [document, *(_open(file_of(parent), file_of, (*path, file.stem)) if parent else ())]


def _at(chain: Chain, key: str) -> Section:
    """The nearest document that states `key`; the first one when none does."""
    return next((document for document in chain if key in document), chain[0])


def _platform(chain: Chain) -> Platform:
    section = _at(chain, "platform")
    text = section.text("platform")
    if "platform" in section and text not in _PLATFORMS:
        section.note("platform", "unknown platform", expected=" | ".join(_PLATFORMS), got=text)
    system, _, architecture = text.partition("/")
    return Platform(system, architecture)


def _wheel(chain: Chain) -> Wheel:
    """The nearest wheel; `NO_WHEEL` where a profile says instead why there is none."""
    if _unpackaged(chain) is not None and not any("wheel" in document for document in chain):
        return NO_WHEEL
    section = _at(chain, "wheel").section("wheel", required=True)
    return Wheel(section.text("name"), section.text("version"))


def _unpackaged(chain: Chain) -> str | None:
    """Why no image can be made. A nearer document that names a wheel of its own knows better."""
    for document in chain:
        if reason := document.optional_text("unpackaged"):
            return reason
        if "wheel" in document:
            return None
    return None


def _precisions(chain: Chain) -> dict[Precision, float | None]:
    section = _at(chain, "precisions").section("precisions", required=True)
    known = [precision.value for precision in Precision]
    found: dict[str, float | None] = {}
    for name in section.keys():  # noqa: SIM118 - a Section is no dict
        found[name] = _rate(section, name)
        if name not in known:
            section.note(
                name,
                f"{name!r} is no number format",
                expected=" | ".join(known),
                next_step=nearest(name, known),
            )
    return {precision: found[precision.value] for precision in Precision if precision in found}


def _rate(section: Section, name: str) -> float | None:
    return None if section.text(name) == UNKNOWN else section.number(name)


def _accelerator(chain: Chain) -> Accelerator | None:
    parts = [one.section("accelerator") for one in chain if "accelerator" in one]
    if not parts:
        return None
    for overridden in parts[1:]:
        overridden.keys()
    return Accelerator(
        vendor=_at(parts, "vendor").text("vendor"),
        product=_at(parts, "product").text("product"),
        compute_capability=_optional(parts, "compute_capability"),
        driver_floor=_optional(parts, "driver_floor"),
        cuda=_optional(parts, "cuda"),
        kubernetes_resource=_optional(parts, "kubernetes_resource"),
        runtime_class=_optional(parts, "runtime_class"),
    )


def _optional(parts: Chain, key: str) -> str | None:
    return _at(parts, key).optional_text(key)


def _node_labels(chain: Chain) -> dict[str, str]:
    labels: dict[str, str] = {}
    for document in reversed(chain):
        labels |= document.mapping("node_labels")
    return labels


def _deployment_platforms(chain: Chain) -> frozenset[str]:
    section = _at(chain, "deployment_platforms")
    found = section.choices("deployment_platforms", DeploymentPlatform)
    if not found:
        known = ", ".join(platform.value for platform in DeploymentPlatform)
        section.note("deployment_platforms", "no platform", expected=f"some of {known}")
    if DeploymentPlatform.KUBERNETES in found:  # a chart is installed where its manifests are
        found = (*found, DeploymentPlatform.HELM)
    return frozenset(platform.value for platform in found)


def _export_class(chain: Chain, precisions: dict[Precision, float | None]) -> str | None:
    rates = _other_rates(_at(chain, "other_peak_rates"))
    market = _at(chain, "market")
    word = market.text("market")
    if "market" in market and word not in _MARKETS:
        market.note("market", "unknown market", expected=" | ".join(_MARKETS), got=repr(word))
    return export_class(
        total_processing_performance(precisions, rates),
        _at(chain, "die_area_mm2").optional_number("die_area_mm2"),
        data_center=word == "data center",
    )


def _other_rates(document: Section) -> dict[str, float]:
    section = document.section("other_peak_rates")
    for name in section.keys():  # noqa: SIM118 - a Section is no dict
        if name not in OTHER_BITS:
            section.note(name, f"{name!r} is unknown", expected=" | ".join(OTHER_BITS))
    return {name: section.number(name) for name in OTHER_BITS if name in section}
