"""The page for people: whole, self-contained, and no name from a model becomes more than text."""

from __future__ import annotations

from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

import numpy as np
import onnx
import pytest
from optimizer_models import encoder, encoder_samples

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Metric, Objective, QualityBudget
from packager.optimize.evidence import quality_record
from packager.optimize.optimizing import opened, optimize
from packager.optimize.reading import read_model
from packager.optimize.report import _plot, html_report
from packager.optimize.samples import read_samples
from packager.progress import SILENT


@pytest.fixture(scope="module")
def record(cpu: HardwareProfile, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("report")
    onnx.save(encoder(1, 32, 2, 200), folder / "model.onnx")
    np.savez(folder / "samples.npz", **encoder_samples(420, 16, 200))
    model = read_model(folder / "model.onnx")
    samples = read_samples(folder / "samples.npz", model)
    with opened(model, samples, QualityBudget(Metric.COSINE, 0.9), folder, SILENT) as bench:
        optimized, _ = optimize(
            bench,
            hardware=cpu,
            objective=Objective.SIZE,
            record=None,
            into=folder,
            progress=SILENT,
        )
    return quality_record(optimized)


class Page(HTMLParser):
    """Tags that must be closed, and every address that a browser would ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing(record: dict[str, Any]) -> None:
    text = html_report(record)
    page = Page(text)
    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.seen
    for row in record["candidates"]:
        assert row["name"] in text
    assert page.seen.count("circle") >= 2
    assert record["chosen"] in text
    assert "estimated" in text.lower()


def test_a_lossy_choice_tells_where_it_loses(record: dict[str, Any]) -> None:
    assert record["chosen"] not in ("source", "graph-extended", "fused")
    layers = record["layers_sqnr_db"]
    assert len(layers) > 5
    assert all(5 < value <= 200 for _, value in layers)
    assert "Where the choice loses" in html_report(record)


def test_an_error_is_at_most_and_a_likeness_at_least(record: dict[str, Any]) -> None:
    record = deepcopy(record)
    row = next(row for row in record["candidates"] if row.get("quality"))
    for metric, side in (("max_abs", "at most"), ("task", "at most"), ("cosine", "at least")):
        row["quality"]["metric"] = metric
        assert f"({side} {row['quality']['confidence_bound']})" in html_report(record)


def test_the_line_is_a_front_and_no_name_covers_another(record: dict[str, Any]) -> None:
    record = deepcopy(record)
    shown = [row for row in record["candidates"] if row.get("measurement") and row.get("size")]
    for index, row in enumerate(shown):  # all at the same place but the last
        row |= {"verdict": "eligible", "size": 1000 if index else 500}
        row["measurement"]["latency_p50_ms"] = 5.0
    drawn = _plot(record["candidates"])
    places = [(point["x"], point["label_y"]) for point in drawn["points"]]
    assert len(set(places)) == len(places) >= 2
    assert drawn["line"].split()[-1] == f"{drawn['points'][0]['x']},{drawn['points'][0]['y']}"


def test_names_from_a_model_are_text(record: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    text = html_report({**record, "layers_sqnr_db": [[evil, 30.0]], "hardware": evil})
    assert evil not in text
    assert "&lt;script&gt;" in text


def test_equal_records_are_equal_pages(record: dict[str, Any]) -> None:
    assert html_report(record) == html_report(dict(record))
