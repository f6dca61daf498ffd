"""Accelerators cross borders too: the export class of the hardware against the jurisdiction.

The class is computed from datasheet figures (`catalogue/export_class.py`) and is no legal fact:
only the maker's classification counts, and only the exporter's licence allows a shipment. So
nothing is refused on it unless a rule of the profile names the class.
"""

from __future__ import annotations

from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.hardware import HardwareProfile
from packager.domain.jurisdiction import Rule

_TAKE = "take the maker's classification and the exporter's licence for this destination"


def decide_accelerator_export(rule: Rule, situation: Situation) -> Outcome:
    """Refused when the computed class is one that the rule names."""
    hardware = situation.target.hardware
    found = export_class_of(hardware)
    if hardware.accelerator is None and found is None:
        return Outcome(Status.NOT_APPLICABLE, f"{hardware.id} has no accelerator")
    if found in rule.export_classes:
        return Outcome(
            Status.VIOLATED,
            f"{hardware.id} is {hardware.export_class}",
            remedy="choose hardware below these classes; if a licence covers this machine, replace "
            "the rule in a profile of your own that names the licence",
        )
    return export_class_known(situation)


def export_class_known(situation: Situation) -> Outcome:
    """What the figures lead to, and that it decides nothing by itself."""
    hardware = situation.target.hardware
    if hardware.export_class is not None:
        return Outcome(
            Status.LEFT_TO_OPERATOR, f"{hardware.id} is {hardware.export_class}; {_TAKE}"
        )
    if hardware.accelerator is None:
        return Outcome(Status.NOT_APPLICABLE, f"{hardware.id} has no accelerator")
    return Outcome(
        Status.LEFT_TO_OPERATOR, f"no figures of {hardware.id} lead to an export class; {_TAKE}"
    )


def export_class_of(hardware: HardwareProfile) -> str | None:
    """The paragraph alone, such as `3A090.a`, without the figures behind it."""
    return hardware.export_class.partition(" (")[0] if hardware.export_class else None
