"""The placement as one HTML page with a map: no external resource, readable on paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from packager.place.plots import line_plot, scatter
from packager.place.world_map import drawing
from packager.resources import data_folder

TEMPLATE = "placement.html.j2"


def placement_html(record: Mapping[str, Any]) -> str:
    """The page of a placement record that carries its `points`."""
    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        record=record,
        map=drawing(record, record["points"]),
        plots=[_rehearsed(course) for course in record.get("rehearsals", ())],
        pareto=_pareto(record.get("pareto", ())),
        drivers=_drivers(record),
    )


def _rehearsed(rehearsal: Mapping[str, Any]) -> dict[str, Any]:
    course = rehearsal["course"]
    times = [slice_["at_s"] for slice_ in course]
    width = (times[1] - times[0]) if len(times) > 1 else 1.0

    def rate(key: str) -> list[float]:
        return [slice_[key] / width for slice_ in course]

    return {
        "scenario": rehearsal["scenario"],
        "told": rehearsal["told"],
        "shed": rehearsal["shed"],
        "late": rehearsal["late"],
        "requests": line_plot(
            times, {"asked": rate("arrived"), "refused": rate("shed")}, "requests a second"
        ),
        "replies": line_plot(times, {"p95": [s["p95_ms"] for s in course]}, "ms"),
        "replicas": line_plot(times, {"replicas": [s["replicas"] for s in course]}, "replicas"),
    }


def _pareto(rows: Any) -> dict[str, Any] | None:
    return scatter(rows, "cost", "mean_rtt_ms") if rows else None


def _drivers(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    total = sum(record["drivers"].values()) or 1.0
    return [
        {"name": name, "money": money, "share": money / total}
        for name, money in record["drivers"].items()
    ]
