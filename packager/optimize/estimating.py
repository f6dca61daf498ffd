"""What a profile's datasheet lets one expect: a floor of the latency, energy, cost. Estimates all.

The floor is the roofline (Williams, Waterman and Patterson, CACM 52(4), 2009): no inference is
faster than its operations at the peak rate, nor than its weights at the memory's bandwidth. Energy
is the profile's power over the throughput, hence an upper bound; cost is its price over the
throughput. Where the profile has no figure, there is no estimate.
"""

from __future__ import annotations

import re

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Estimate
from packager.optimize.operations import Work

_PRICE = re.compile(r"([0-9.]+) to ([0-9.]+) USD (an hour|a vCPU and hour)")


def estimate(
    work: Work | None,
    size: int,
    precision: Precision,
    hardware: HardwareProfile,
    throughput: float | None,
    threads: int,
) -> Estimate:
    """The estimate of one candidate of `size` bytes that computes in `precision`.

    `throughput` in inferences a second, as measured or known for this profile; None without one.
    """
    peak = hardware.precisions.get(precision)
    compute = work.operations / (peak * 1e12) * 1e3 if work and peak else None
    memory = size / (hardware.bandwidth_gb_s * 1e9) * 1e3 if hardware.bandwidth_gb_s else None
    floors = {"compute": compute, "memory": memory}
    known = {name: value for name, value in floors.items() if value is not None}
    bound = max(known, key=lambda name: (known[name], name)) if known else None
    price = _price(hardware, threads)
    return Estimate(
        operations=work.operations if work else None,
        operations_whole=bool(work and work.whole),
        latency_floor_ms=_rounded(known[bound]) if bound else None,
        bound_by=bound,
        energy_j=_rounded(hardware.power_w / throughput)
        if hardware.power_w and throughput
        else None,
        cost_usd_per_million=(
            (_rounded(price[0] / throughput), _rounded(price[1] / throughput))
            if price and throughput
            else None
        ),
    )


def _price(hardware: HardwareProfile, threads: int) -> tuple[float, float] | None:
    """USD for a million seconds over 3600, so that dividing by a rate gives USD a million."""
    found = _PRICE.match(hardware.price_class or "")
    if not found:
        return None
    scale = 1e6 / 3600 * (threads if found[3] == "a vCPU and hour" else 1)
    return float(found[1]) * scale, float(found[2]) * scale


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
