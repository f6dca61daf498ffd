"""Every jurisdiction × 25 hardware profiles × 5 classes of data, decided; the bound is two seconds.

Once inside, where most rules are met, and once abroad, where each refusal looks for the nearest
allowed regions. Where the catalogue has fewer than 25 hardware profiles, those that it has are
taken again under other names; a profile's id changes no decision's work.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from packager.catalogue import Catalogue, load_catalogue
from packager.comply.deciding import decide
from packager.domain.hardware import HardwareProfile
from packager.domain.model import Objective, QualityBudget
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass, DeploymentPlatform, Region, TargetName

JURISDICTIONS, HARDWARE, BOUND_S = 36, 25, 2.0
ABROAD = Region("aws", "us-east-1")


def machines(catalogue: Catalogue) -> list[HardwareProfile]:
    known = [catalogue.hardware(name) for name in catalogue.hardware_ids()]
    return [
        dataclasses.replace(known[number % len(known)], id=f"machine-{number}")
        for number in range(HARDWARE)
    ]


def decide_all(catalogue: Catalogue, abroad: bool) -> int:
    """The number of decisions made."""
    hardware = machines(catalogue)
    made = 0
    for name in catalogue.jurisdiction_ids()[:JURISDICTIONS]:
        profile = catalogue.jurisdiction(name)
        inside = tuple(sorted(profile.regions))[:1]
        for machine in hardware:
            for data in DataClass:
                target = PlannedTarget(
                    TargetName(name, machine.id, DeploymentPlatform.KUBERNETES),
                    profile,
                    machine,
                    (ABROAD,) if abroad or not inside else inside,
                    None,
                    "localhost/model:1",
                    "benchmark",
                )
                made += len(
                    decide(
                        target,
                        request(data),
                        catalogue.country_of,
                        catalogue.distance_km,
                        catalogue.home_of,
                    )
                )
    return made


def request(data: DataClass) -> ReleaseRequest:
    return ReleaseRequest(
        name="model",
        version="1",
        model_path=Path("model.onnx"),
        model_license="MIT",
        samples=None,
        quality=QualityBudget(),
        objective=Objective.LATENCY,
        data_class=data,
        targets=(),
        registries={},
        sites={},
        registry_countries={},
        signing_keys=(),
        where="benchmark",
    )


def main() -> None:
    start = time.perf_counter()
    catalogue = load_catalogue()
    for name in catalogue.jurisdiction_ids():
        catalogue.jurisdiction(name)
    print(f"comply: read the catalogue: {time.perf_counter() - start:.2f} s")
    for abroad in (False, True):
        start = time.perf_counter()
        made = decide_all(catalogue, abroad)
        took = time.perf_counter() - start
        where = "abroad" if abroad else "inside"
        print(
            f"comply: {JURISDICTIONS} × {HARDWARE} × {len(DataClass)} {where}: {made} decisions in "
            f"{took:.2f} s (bound {BOUND_S:.0f} s)"
        )


if __name__ == "__main__":
    main()
