"""The compliance report: complete, the same bytes each time, and safe to open."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from packager.canonical import dumps_readable
from packager.catalogue import Catalogue
from packager.comply.deciding import decide
from packager.comply.report import (
    compliance_html,
    compliance_markdown,
    compliance_record,
    evidence_named,
)
from packager.digest import Digest
from packager.domain.artifact import Descriptor, Image, MediaType
from packager.domain.decision import Decision, Status
from packager.domain.hardware import Confidence, Precision
from packager.domain.jurisdiction import Law
from packager.domain.model import (
    Candidate,
    Model,
    OptimizedModel,
    Verdict,
)
from packager.domain.release import BuiltTarget, PlannedTarget, ReleaseRequest

Asking = Callable[..., tuple[PlannedTarget, ReleaseRequest]]


def built(target: PlannedTarget, decisions: tuple[Decision, ...]) -> BuiltTarget:
    blob = Descriptor(MediaType.MANIFEST, Digest.of(str(target.name).encode()), 2)
    model = Model((), (), (), 17, Precision.FP32)
    baseline = Candidate("baseline", Precision.FP32, Verdict.CHOSEN, "it is the only one", ())
    return BuiltTarget(
        plan=target,
        model=OptimizedModel(model, model, (baseline,), "measured on nothing", None, 1, ()),
        image=Image(target.reference, target.hardware.platform, blob, blob, ()),
        decisions=decisions,
    )


@pytest.fixture(scope="module")
def record(catalogue: Catalogue, asking: Asking) -> dict[str, Any]:
    targets = []
    for jurisdiction, region in (("sa", "gcp/me-central2"), ("de", "aws/eu-central-1")):
        target, request = asking(jurisdiction, [region], data="government")
        decisions = decide(target, request, catalogue.country_of, catalogue.distance_km)
        targets.append(built(target, decisions))
    return recorded(request, targets)


def recorded(request: ReleaseRequest, targets: list[BuiltTarget]) -> dict[str, Any]:
    digests = {name: str(Digest.of(name.encode())) for name in evidence_named(targets)}
    return compliance_record(request, targets, digests, "2026-01-01T00:00:00Z")


class Page(HTMLParser):
    """What a page holds and what it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.articles: list[str] = []
        self.fetched: list[str] = []
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "article":
            self.articles.append(found.get("class") or "")
        if tag in ("img", "script", "link", "iframe") and ("src" in found or "href" in found):
            self.fetched.append(tag)
        if tag not in ("meta", "input", "br"):
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    parser.close()
    assert parser.opened == []
    return parser


def test_the_record_holds_every_decision(record: dict[str, Any]) -> None:
    assert [target["name"] for target in record["targets"]] == [
        "de/x86-64-v3/kubernetes",
        "sa/x86-64-v3/kubernetes",
    ]
    for target in record["targets"]:
        assert sum(target["summary"].values()) == len(target["decisions"]) > 10
    assert "no legal advice" in record["disclaimer"]


def test_the_same_bytes_each_time(record: dict[str, Any], asking: Asking) -> None:
    assert dumps_readable(record) == dumps_readable(record)
    assert compliance_html(record) == compliance_html(record)


def test_the_page_shows_every_control_with_law_and_object(record: dict[str, Any]) -> None:
    page = read(compliance_html(record))
    text = " ".join("".join(page.text).split())
    count = sum(len(target["decisions"]) for target in record["targets"])
    assert len(page.articles) == count
    for target in record["targets"]:
        for decision in target["decisions"]:
            assert decision["control"] in text
            assert all(name in text for name in decision["by"])
            if "law" in decision:
                assert decision["law"]["article"] in text
    assert "No legal advice." in text
    assert "from memory, not looked up" in text


def test_the_page_needs_nothing_from_outside(record: dict[str, Any]) -> None:
    html = compliance_html(record)
    assert read(html).fetched == []
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import|fetch\(|src=", html)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_what_a_profile_says_cannot_become_markup(asking: Asking) -> None:
    target, request = asking("de", ["aws/eu-central-1"])
    evil = "<script>alert(1)</script>|[x](javascript:y)"
    law = Law(evil, evil, "javascript:alert(1)", Confidence.LOW, "2026-11-23")
    decision = Decision("de/evil", evil, Status.VIOLATED, evil, (evil,), evil, law)
    made = recorded(request, [built(target, (decision,))])
    html = compliance_html(made)
    assert "<script>alert" not in html
    assert 'href="javascript:' not in html
    markdown = compliance_markdown(made)
    assert "<script>" not in markdown
    assert "](javascript" not in markdown.replace("\\[x]", "")
    row = next(line for line in markdown.splitlines() if line.startswith("| de/evil"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 6


def test_markdown_tells_the_same(record: dict[str, Any]) -> None:
    markdown = compliance_markdown(record)
    for target in record["targets"]:
        assert f"## {target['name']}" in markdown
        for decision in target["decisions"]:
            assert f"| {decision['control']} | {decision['status']} |" in markdown
    assert "from memory, not looked up" in markdown


def test_it_finds_its_template_from_anywhere(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compliance_html(record).startswith("<!DOCTYPE html>")


def test_a_legal_path_is_shown_with_its_law_and_its_document(
    catalogue: Catalogue, asking: Asking
) -> None:
    target, request = asking("de", ["aws/us-east-1"], transfers={"eu/dpf": ["US"]})
    decisions = decide(target, request, catalogue.country_of, catalogue.distance_km)
    record = recorded(request, [built(target, decisions)])
    assert record["targets"][0]["paths"] == [
        "US by eu/dpf (limited adequacy: Implementing Decision (EU) 2023/1795; GDPR, Art. 45), as "
        "you declared: the document of 2026-05-12 with Example Inc."
    ]
    page, text = compliance_html(record), compliance_markdown(record)
    for shown in (page, text):
        assert "Implementing Decision (EU) 2023/1795" in shown
    assert "Legal path" in page
    assert "C-703/25 P" in page
    assert "base: none, built from nothing" in page
