"""The largest plan that is promised: `python -m benchmarks.place.scale`.

At least 60 countries, 230 places and 12 hardware profiles: every country that the catalogue has a
profile for, and some that get one of their own here; every public region, and a room in each
country that has none. Law, distance, capacity and N+1 count. Exits 1 beyond a gap of 1 % or 60 s.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from packager.catalogue import load_catalogue
from packager.place.geography import read_geography
from packager.placing import PlanOptions, plan_placement
from packager.progress import SILENT
from packager.resources import data_folder
from packager.steps.placing import jurisdiction_of

COUNTRIES, PLACES, PROFILES = 60, 230, 12
HARDWARE = {
    # profile: price an hour, p50, p99, requests a second; invented, so that all compete
    "x86-64-v3": (0.17, 6.1, 9.4, 155),
    "arm64-v8": (0.14, 7.5, 11.0, 125),
    "intel-xeon-amx": (0.34, 3.0, 4.4, 410),
    "nvidia-t4": (0.35, 3.2, 4.5, 800),
    "nvidia-l4": (0.70, 1.9, 2.6, 1900),
    "nvidia-a10g": (1.00, 1.7, 2.4, 2300),
    "nvidia-l40s": (1.60, 1.2, 1.7, 4300),
    "nvidia-a100-sxm-80": (2.40, 1.1, 1.5, 6000),
    "nvidia-h100-sxm-80": (4.50, 0.8, 1.1, 12500),
    "nvidia-h200": (5.00, 0.8, 1.1, 13500),
    "nvidia-rtx6000-ada": (1.20, 1.4, 2.0, 3600),
    "nvidia-v100-sxm2-32": (0.90, 2.2, 3.0, 1500),
}


def main() -> int:
    known = load_catalogue()
    profiles = [name for name in HARDWARE if name in known.hardware_ids()]
    profiles += [name for name in known.hardware_ids() if name not in profiles]
    profiles = profiles[:PROFILES]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        countries = _write(folder, profiles)
        began = time.monotonic()
        planned = plan_placement(
            folder / "demand.yaml",
            folder / "sites.yaml",
            PlanOptions(
                service=folder / "service.yaml",
                targets=folder / "targets",
                seconds=60.0,
                explore=False,
            ),
            SILENT,
        )
        seconds = time.monotonic() - began
    problem = planned.problem
    sites = {refusal.site.region for refusal in problem.refusals}
    sites |= {option.pool.site.region for option in problem.options}
    told = {
        "countries": countries,
        "places": len(sites),
        "hardware_profiles": len(profiles),
        "lawful_options": len(problem.options),
        "gap": round(planned.placement.gap, 5),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(told))
    large = countries >= COUNTRIES and len(sites) >= PLACES and len(profiles) == PROFILES
    return 0 if large and told["gap"] <= 0.01 and seconds <= 60 else 1


def _write(folder: Path, profiles: list[str]) -> int:
    """The four files of a plan; returns how many countries ask."""
    known = load_catalogue()
    points = read_geography(data_folder("targets") / "placement").points
    served = {place.country for place in known.places.values() if place.confirmed}
    own = [name for name in sorted(points) if jurisdiction_of(known, name)]
    others = [name for name in sorted(points) if name not in own][
        : max(0, COUNTRIES + 2 - len(own))
    ]
    laws = folder / "targets" / "jurisdictions"
    laws.mkdir(parents=True)
    for name in others:
        (laws / f"{name.lower()}.yaml").write_text(_PROFILE.format(id=name.lower(), country=name))
    asked = [*own, *others]
    demands = [
        f"  - {{country: {name}, requests: {{per_second: {20 + 37 * turn % 700}}}}}\n"
        for turn, name in enumerate(asked)
    ]
    (folder / "demand.yaml").write_text(
        "apiVersion: packager/v1\nkind: Demand\n"
        "defaults: {latency: {p95_ms: 250}, surge: {factor: 10, ramp_s: 300, hours_a_month: 4}}\n"
        "demands:\n" + "".join(demands)
    )
    offers = "".join(
        f"      - {{profile: {name}, price: {_figures(name)[0]} USD/hour}}\n" for name in profiles
    )
    providers = sorted({region.provider for region in known.places})
    homeless = [name for name in asked if name not in served]
    # Every country without a public region has a room, and two have several.
    rooms = homeless + [asked[turn % 2] for turn in range(max(0, 8 - len(homeless)))]
    (folder / "sites.yaml").write_text(
        "apiVersion: packager/v1\nkind: Sites\nspare: 1\n"
        f"regions:\n  providers: [{', '.join(providers)}]\n  hardware:\n"
        + offers.replace("      - ", "    - ")
        + "sites:\n"
        + "".join(
            f"  - region: site/room-{turn}\n    country: {name}\n    hardware:\n{offers}"
            for turn, name in enumerate(rooms)
        )
    )
    (folder / "service.yaml").write_text(
        "apiVersion: packager/v1\nkind: ServiceRecords\nservices:\n"
        + "".join(
            "  - {{hardware: {}, p50_ms: {}, p99_ms: {}, per_second: {}, told: invented}}\n".format(
                name, *_figures(name)[1:]
            )
            for name in profiles
        )
    )
    return len(asked)


def _figures(name: str) -> tuple[float, ...]:
    return HARDWARE.get(name, (2.0, 1.5, 2.2, 3000))


_PROFILE = """id: {id}
apiVersion: packager/v1
kind: Jurisdiction
name: {country}
countries: [{country}]
confidence: low
reviewed: 2026-11-27
rules:
  - id: inside
    demand: inference_within
    data: [public, personal, health, financial, government]
    within: [{country}]
    text: A target of this jurisdiction runs inside it.
    law: {{name: House rule, article: none, source: docs/catalogue.md, confidence: high}}
"""

if __name__ == "__main__":
    sys.exit(main())
