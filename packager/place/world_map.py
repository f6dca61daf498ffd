"""The placement on a map of the world: equirectangular, two pixels a degree.

The coast is Natural Earth's (public domain) at 1:110 million, rounded to half a degree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from packager.resources import data_folder

WIDTH = 720
MARGIN, LEAST_WIDTH = 18.0, 160.0
_NORTH, _SCALE = 84.0, 2.0
_BEND = 0.18


def coast() -> str:
    """The SVG path of all land."""
    file = data_folder("templates") / "report" / "world.path"
    return file.read_text(encoding="ascii").strip()


def project(latitude: float, longitude: float) -> tuple[float, float]:
    """Degrees to pixels of the whole map, `WIDTH` wide."""
    return round((longitude + 180) * _SCALE, 1), round((_NORTH - latitude) * _SCALE, 1)


def drawing(record: Mapping[str, Any], points: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Circles for countries and sites, and a bent line for each flow, ready to be drawn.

    `unit` is what a pixel of the whole map is in the window, so that lines stay equally thin.
    `points` are the degrees of every demand and site that the record names.
    """
    sites: dict[str, float] = {}
    flows = []
    for demand in record["demands"]:
        for served in demand["served_by"]:
            rate = demand["peak_per_second"] * served["share"]
            sites[served["site"]] = sites.get(served["site"], 0.0) + rate
            begin = project(**points[demand["name"]])
            end = project(**points[served["site"]])
            flows.append(
                {
                    "path": _arc(begin, end),
                    "width": _thickness(rate, 5.0),
                    "title": f"{demand['name']} → {served['site']}: {rate:g} a second, "
                    f"{served['rtt_ms']:.0f} ms",
                }
            )
    return {
        **_window([project(**points[name]) for name in (*sites, *_names(record))]),
        "coast": coast(),
        "flows": flows,
        "sites": [
            {
                "x": project(**points[name])[0],
                "y": project(**points[name])[1],
                "radius": 2 + _thickness(rate, 6.0),
                "title": f"{name}: {rate:g} a second at the peak",
                "label": name,
            }
            for name, rate in sorted(sites.items())
        ],
        "people": [
            {
                "x": project(**points[demand["name"]])[0],
                "y": project(**points[demand["name"]])[1],
                "title": f"{demand['name']}: {demand['peak_per_second']:g} a second",
            }
            for demand in record["demands"]
        ],
    }


def _names(record: Mapping[str, Any]) -> list[str]:
    return [demand["name"] for demand in record["demands"]]


def _window(dots: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The part of the map that holds all dots with a margin, never narrower than a continent."""
    left, right = min(x for x, _ in dots) - MARGIN, max(x for x, _ in dots) + MARGIN
    top, bottom = min(y for _, y in dots) - MARGIN, max(y for _, y in dots) + MARGIN
    width = max(right - left, LEAST_WIDTH, (bottom - top) * 2)
    height = max(bottom - top, width / 2.4)
    left -= (width - (right - left)) / 2
    top -= (height - (bottom - top)) / 2
    return {
        "left": round(left, 1),
        "top": round(top, 1),
        "width": round(width, 1),
        "height": round(height, 1),
        "unit": round(width / WIDTH, 3),
    }


def _arc(begin: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = begin, end
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    bent_x = middle_x + (y1 - y2) * _BEND
    bent_y = middle_y - abs(x2 - x1) * _BEND
    return f"M{x1} {y1}Q{bent_x:.1f} {bent_y:.1f} {x2} {y2}"


def _thickness(rate: float, most: float) -> float:
    """Pixels that grow with the square root of a rate, within sensible bounds."""
    return round(min(most, 0.6 + sqrt(rate) / 8), 2)
