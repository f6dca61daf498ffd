"""The optimizer's report for people: one HTML file that needs nothing else, made from the quality
record alone, so that it can never say something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from packager.domain.model import Metric
from packager.resources import data_folder

WIDTH, HEIGHT, MARGIN = 640, 360, 56
LINE, LETTER = 13.0, 7.0
"""Height of a line of text and width of a letter in the drawing."""
_COLOURS = {"chosen": "#0a7d33", "eligible": "#2b6cb0", "outpaced": "#8a94a6"}


def html_report(record: Mapping[str, Any]) -> str:
    """The page of one quality record."""
    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template("optimizer.html.j2").render(
        record=record,
        rows=[_row(row) for row in record["candidates"]],
        plot=_plot(record["candidates"]),
        layers=_layers(record["layers_sqnr_db"]),
    )
    return page


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    measured, quality = row.get("measurement") or {}, row.get("quality") or {}
    estimated = row.get("estimated") or {}
    return {
        "name": row["name"],
        "verdict": row["verdict"],
        "front": row["on_front"],
        "size": f"{row['size'] / 1e6:.2f} MB" if row.get("size") else "",
        "speed": f"{measured['speedup']:.2f}×" if measured.get("speedup") else "",
        "p50": f"{measured['latency_p50_ms']} ms" if measured else "",
        "p99": f"{measured['latency_p99_ms']} ms" if measured else "",
        "rate": f"{measured['throughput_per_s']:.0f}/s" if measured else "",
        "memory": f"{measured['resident_bytes'] / 1e6:.0f} MB"
        if measured.get("resident_bytes")
        else "",
        "quality": f"{quality['value']} ({_side(quality)} {quality['confidence_bound']})"
        if quality
        else "",
        "floor": f"{estimated['latency_floor_ms']} ms by {estimated['bound_by']}"
        if estimated.get("latency_floor_ms") is not None
        else "",
        "energy": f"{estimated['energy_j']} J" if estimated.get("energy_j") else "",
        "cost": "{:g}–{:g} USD".format(*estimated["cost_usd_per_million"])
        if estimated.get("cost_usd_per_million")
        else "",
        "reason": row["reason"],
        "passes": row["passes"],
        "notes": row["notes"],
    }


def _side(quality: Mapping[str, Any]) -> str:
    """Which way the bound holds: an error or a loss is at most so large, a likeness at least."""
    return "at most" if Metric(quality["metric"]).smaller_is_better else "at least"


def _plot(candidates: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Size against latency, as points in the coordinates of the drawing; None without figures."""
    shown = [
        row
        for row in candidates
        if row.get("measurement") and row.get("size") and row["verdict"] in _COLOURS
    ]
    if not shown:
        return None
    latency = [row["measurement"]["latency_p50_ms"] for row in shown]
    size = [row["size"] / 1e6 for row in shown]
    right, top = max(latency) * 1.15 or 1.0, max(size) * 1.15

    def place(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + x / right * (WIDTH - 2 * MARGIN)
        return round(across, 1), round(HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN), 1)

    points = []
    for row, x, y in zip(shown, latency, size, strict=True):
        across, down = place(x, y)
        points.append(
            {
                "x": across,
                "y": down,
                "name": row["name"],
                "front": row["on_front"],
                "colour": _COLOURS[row["verdict"]],
            }
        )
    _label(points)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "margin": MARGIN,
        "points": points,
        "line": " ".join(f"{x},{y}" for x, y in _stairs(points)),
        "ticks_x": [(place(right * k / 4, 0)[0], f"{right * k / 4:.3g}") for k in range(5)],
        "ticks_y": [(place(0, top * k / 4)[1], f"{top * k / 4:.3g}") for k in range(5)],
    }


def _label(points: list[dict[str, Any]]) -> None:
    """Where each name stands: beside its point, or a line below another one that is in its way."""
    placed: list[tuple[float, float, int]] = []
    for point in sorted(points, key=lambda one: (one["x"], one["y"], one["name"])):
        down = point["y"] + 3
        while any(
            abs(down - y) < LINE
            and x - LETTER * len(point["name"]) < point["x"] < x + LETTER * width
            for x, y, width in placed
        ):
            down += LINE
        placed.append((point["x"], down, len(point["name"])))
        point["label_y"] = round(down, 1)


def _stairs(points: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """The front of the two axes that are drawn, of the many that count: lower left is better."""
    steps: list[tuple[float, float]] = []
    for x, y in sorted((one["x"], one["y"]) for one in points):  # y grows downwards
        if not steps or y > steps[-1][1]:
            if steps:
                steps.append((x, steps[-1][1]))
            steps.append((x, y))
    return steps


def _layers(layers: list[tuple[str, float]]) -> dict[str, Any] | None:
    if not layers:
        return None
    top = max(value for _, value in layers) or 1.0
    worst = sorted(layers, key=lambda one: one[1])[:8]
    bars = [
        {
            "x": index,
            "height": round(max(0.0, value) / top * 100, 1),
            "title": f"{name}: {value} dB",
        }
        for index, (name, value) in enumerate(layers)
    ]
    return {"bars": bars, "count": len(layers), "top": f"{top:.0f}", "worst": worst}
