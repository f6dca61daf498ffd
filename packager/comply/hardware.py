"""What the hardware profile cannot do: a platform, a number format, a wheel that is not there."""

from __future__ import annotations

from collections.abc import Callable

from packager.comply.each_model import for_each_model
from packager.comply.export_control import export_class_known
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Decision, Status
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.provider_wheel import objections, wheel_architectures

# Number formats that a device computes in, but ONNX Runtime's provider for it has no kernels for.
_PROVIDER_LACKS = {"CUDAExecutionProvider": frozenset({Precision.INT8})}


def decide_hardware(situation: Situation) -> list[Decision]:
    """All checks of the hardware profile, as decisions `hardware/<check>`."""
    return [
        Decision(
            f"hardware/{name}", requirement, outcome.status, outcome.why, outcome.by, outcome.remedy
        )
        for name, requirement, check in _CHECKS
        for outcome in [check(situation)]
    ]


def _platform(situation: Situation) -> Outcome:
    hardware = situation.target.hardware
    asked = situation.target.name.platform.value
    if asked in hardware.deployment_platforms:
        return Outcome(Status.ENFORCED, f"{hardware.id} is run by {asked}", (situation.workload,))
    offered = ", ".join(sorted(hardware.deployment_platforms))
    return Outcome(
        Status.VIOLATED,
        f"{hardware.id} cannot be run by {asked}",
        remedy=f"choose one of its platforms: {offered}",
    )


def _precision(situation: Situation) -> Outcome:
    return for_each_model(_computes, situation)


def _computes(situation: Situation) -> Outcome:
    hardware, asked = situation.target.hardware, situation.request.precision
    usable = usable_precisions(hardware)
    offered = ", ".join(precision.value for precision in usable)
    if asked is None:
        return Outcome(
            Status.EVIDENCED,
            f"the optimizer chooses among what the profile computes in: {offered}",
            (situation.request.quality_path(hardware.id),),
        )
    if asked in usable:
        return Outcome(
            Status.EVIDENCED,
            f"{hardware.id} computes in {asked.value}",
            (situation.request.quality_path(hardware.id),),
        )
    if asked in hardware.precisions:
        why = f"{hardware.execution_provider} has no kernels for {asked.value}"
    else:
        why = f"{hardware.id} does not compute in {asked.value}"
    return Outcome(
        Status.VIOLATED,
        why,
        remedy=f"ask for one of: {offered}, or leave `precision` out and let it be measured",
    )


def _wheel(situation: Situation) -> Outcome:
    hardware = situation.target.hardware
    wheel = f"{hardware.wheel.name} {hardware.wheel.version}"
    if found := objections(hardware):
        return Outcome(
            Status.VIOLATED,
            "; ".join(one.why for one in found),
            remedy="; ".join(one.remedy for one in found),
        )
    if wheel_architectures(hardware.wheel) is None:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"which machines {wheel} is built for is not known here; assembling it will tell",
            (situation.target.name.sbom_path,),
        )
    return Outcome(
        Status.EVIDENCED,
        f"{wheel} is built for {hardware.platform}",
        (situation.target.name.sbom_path,),
    )


def usable_precisions(hardware: HardwareProfile) -> list[Precision]:
    """The number formats that both the device and ONNX Runtime's provider for it compute in."""
    lacking = _PROVIDER_LACKS.get(hardware.execution_provider, frozenset())
    return [precision for precision in hardware.precisions if precision not in lacking]


_CHECKS: tuple[tuple[str, str, Callable[[Situation], Outcome]], ...] = (
    ("platform", "The deployment platform can run this hardware.", _platform),
    ("precision", "The hardware computes in the number format that is asked for.", _precision),
    ("wheel", "ONNX Runtime is built for this machine.", _wheel),
    ("export-class", "The export class of the accelerator is known.", export_class_known),
)
