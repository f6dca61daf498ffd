"""The record of a load for people: one HTML file that needs nothing else, made from the record
alone, so that it can never say something else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from packager.resources import data_folder

WIDTH, HEIGHT, MARGIN = 640, 360, 56
_LINES = (("p50", "#0a7d33"), ("p95", "#b7791f"), ("p99", "#c53030"))


def html_report(record: Mapping[str, Any]) -> str:
    """The page of one load record."""
    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loops = [("closed", "clients"), ("open", "requests a second, asked")]
    page: str = environment.get_template("load.html.j2").render(
        record=record,
        release=(record["server"] or {}).get("release"),
        plots=[
            plot
            for loop, unit in loops
            if (plot := _plot([s for s in record["steps"] if s["loop"] == loop], loop, unit))
        ],
    )
    return page


def _plot(steps: Sequence[Mapping[str, Any]], loop: str, unit: str) -> dict[str, Any] | None:
    """Latency (logarithmic) against goodput, with a point for each step; None without figures."""
    shown = [step for step in steps if step["latency_ms"]]
    if not shown:
        return None
    values = [step["latency_ms"][name] for step in shown for name, _ in _LINES]
    low = math.floor(math.log10(max(1e-3, min(values))))
    high = max(low + 1, math.ceil(math.log10(max(1e-3, *values))))
    right = max(step["per_second"] for step in shown) * 1.1 or 1.0

    def across(rate: float) -> float:
        return round(MARGIN + rate / right * (WIDTH - 2 * MARGIN), 1)

    def down(ms: float) -> float:
        part = (math.log10(max(1e-3, ms)) - low) / (high - low)
        return round(HEIGHT - MARGIN - part * (HEIGHT - 2 * MARGIN), 1)

    lines = []
    for name, colour in _LINES:
        points = [
            {
                "x": across(step["per_second"]),
                "y": down(step["latency_ms"][name]),
                "title": f"{step['load']:g} {unit}: {step['per_second']:g} a second, "
                f"{name} {step['latency_ms'][name]:g} ms",
            }
            for step in shown
        ]
        lines.append({"name": name, "colour": colour, "points": points})
    return {
        "title": f"{loop.capitalize()} loop: latency against good answers a second",
        "width": WIDTH,
        "height": HEIGHT,
        "margin": MARGIN,
        "lines": lines,
        "labels": [
            (across(step["per_second"]), down(step["latency_ms"]["p99"]) - 8, f"{step['load']:g}")
            for step in shown
        ],
        "unit": unit,
        "ticks_x": [(across(right * k / 4), f"{right * k / 4:.3g}") for k in range(5)],
        "ticks_y": [(down(10.0**k), f"{10.0**k:g}") for k in range(low, high + 1)],
    }
