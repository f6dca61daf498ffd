"""Work counted from shapes, and what a datasheet makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optimizer_models import convnet, encoder

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.estimating import estimate
from packager.optimize.operations import Work, work_of


def test_the_operations_of_a_convolutional_network_by_hand() -> None:
    size, (one, two) = 16, (16, 32)
    by_hand = 2 * size**2 * one * 9 * (3 + one) + 2 * (size // 2) ** 2 * two * 9 * (one + two)
    by_hand += 2 * two * 6
    work = work_of(convnet((one, two), size), {"image": (1, 3, size, size)})
    assert work == Work(by_hand, whole=True)
    assert work_of(convnet(), {"image": (4, 3, 16, 16)}).operations == 4 * by_hand


def test_the_operations_of_an_encoder_by_hand() -> None:
    layers, hidden, length = 2, 64, 32
    dense = 2 * length * hidden * hidden * (4 + 8)
    attention = 2 * 2 * length * length * hidden
    by_hand = layers * (dense + attention) + 2 * hidden * 4
    work = work_of(encoder(layers, hidden), {"ids": (1, length), "mask": (1, length)})
    assert work == Work(by_hand, whole=True)


def test_what_no_shape_is_known_of_is_left_out_and_said_so() -> None:
    work = work_of(encoder(), {})
    assert not work.whole


def test_the_floor_is_the_slower_of_compute_and_memory(cpu: HardwareProfile) -> None:
    fast = replace(
        cpu,
        precisions={Precision.FP16: 100.0},
        bandwidth_gb_s=1000.0,
        power_w=200.0,
        price_class="1.00 to 3.60 USD an hour (2026, test)",
    )
    busy = estimate(Work(10**11, True), 10**6, Precision.FP16, fast, 500.0, 1)
    assert (busy.bound_by, busy.latency_floor_ms) == ("compute", 1.0)
    assert busy.energy_j == pytest.approx(0.4)
    assert busy.cost_usd_per_million == (0.556, 2.0)
    heavy = estimate(Work(10**6, True), 10**9, Precision.FP16, fast, None, 1)
    assert (heavy.bound_by, heavy.latency_floor_ms) == ("memory", 1.0)
    assert heavy.energy_j is None
    assert heavy.cost_usd_per_million is None


def test_without_figures_there_is_no_estimate(cpu: HardwareProfile) -> None:
    bare = replace(cpu, precisions={Precision.FP32: None}, bandwidth_gb_s=None, power_w=None)
    nothing = estimate(Work(10**9, True), 10**6, Precision.FP32, bare, 100.0, 1)
    assert (nothing.latency_floor_ms, nothing.bound_by, nothing.energy_j) == (None, None, None)


def test_a_price_by_vcpu_counts_the_threads(cpu: HardwareProfile) -> None:
    priced = replace(cpu, price_class="0.04 to 0.05 USD a vCPU and hour (test)")
    two = estimate(None, 1, Precision.FP32, priced, 100.0, 2)
    one = estimate(None, 1, Precision.FP32, priced, 100.0, 1)
    assert one.cost_usd_per_million is not None
    assert two.cost_usd_per_million is not None
    assert two.cost_usd_per_million[0] == pytest.approx(2 * one.cost_usd_per_million[0], rel=0.01)
