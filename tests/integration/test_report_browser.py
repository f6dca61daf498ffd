"""The compliance page in a real Chromium: at two widths, filtered, and on paper."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_targets import build_target, release_request
from engines import missing
from screenshots import BLOCK, SCALE, Grey, blocks, read_grey, write_grey

from packager.catalogue import load_catalogue
from packager.comply.deciding import decide
from packager.comply.report import compliance_html, compliance_record, evidence_named
from packager.digest import Digest
from packager.domain.release import Declarations
from packager.domain.target import DeploymentPlatform, Region
from packager.domain.transfer import DeclaredTransfer

pytestmark = pytest.mark.engine

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
# Name → width and height in pixels, and Chromium's number for the colour scheme.
LOOKS = {"desktop": (1280, 1800, 1), "desktop-dark": (1280, 1800, 0), "phone": (390, 1800, 1)}
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
# Reports what a reader would meet; stands at the end of a copy of the page.
PROBE = """<script>
const visible = (name) => document.querySelectorAll(name + ":not([hidden]) > article").length;
const before = visible("div.group");
const box = document.querySelector("#filter input[value=enforced]");
box.checked = false;
box.dispatchEvent(new Event("change", {bubbles: true}));
const links = Array.from(document.querySelectorAll("nav a"), (a) => a.getAttribute("href"));
const limit = document.documentElement.getBoundingClientRect().width + 1;
const wide = Array.from(document.querySelectorAll("body *"))
  .filter((one) => one.getBoundingClientRect().right > limit);
const told = {
  before,
  after: visible("div.group"),
  wide: wide.map((one) => one.outerHTML.slice(0, 90)),
  dead: links.filter((href) => !document.querySelector(href)),
  filter: !document.getElementById("filter").hidden,
};
const out = document.createElement("pre");
out.id = "probe";
out.textContent = JSON.stringify(told);
document.body.replaceChildren(out);
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        missing("chromium is not installed")
        raise AssertionError("missing() skips or fails")
    return found


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    catalogue = load_catalogue()
    held = DeclaredTransfer(
        "eu/dpf", ("US",), "Example Inc.", "entry in the list", "2026-05-12", "release.yaml:9"
    )
    request = dataclasses.replace(release_request(), declared=Declarations(transfers=(held,)))
    targets = []
    for name, region in (("de", "aws/us-east-1"), ("sa", "gcp/me-central2")):
        built = build_target(
            request,
            catalogue.jurisdiction(name),
            catalogue.hardware("nvidia-l4"),
            DeploymentPlatform.KUBERNETES,
            regions=(Region.parse(region),),
        )
        decisions = decide(built.plan, request, catalogue.country_of, catalogue.distance_km)
        targets.append(dataclasses.replace(built, decisions=decisions))
    digests = {name: str(Digest.of(name.encode())) for name in evidence_named(targets)}
    return compliance_record(request, targets, digests, "2026-01-01T00:00:00Z")


def chromium(browser: str, profile: Path, *arguments: object) -> str:
    done = subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={profile}", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_links_lead_somewhere_and_the_filter_filters(
    browser: str, record: dict[str, Any], tmp_path: Path, width: int
) -> None:
    # Headless Chromium opens no window below 500 pixels; the page is told its width instead.
    narrow = f"<style>html {{ width: {width}px }}</style>"
    page = tmp_path / "page.html"
    page.write_text(compliance_html(record).replace("</body>", f"{narrow}{PROBE}</body>"))
    window = f"--window-size={max(width, 500)},900"
    dom = chromium(browser, tmp_path / "p", window, "--dump-dom", page.as_uri())
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    told = json.loads(
        found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    everything = sum(sum(target["summary"].values()) for target in record["targets"])
    enforced = sum(target["summary"]["enforced"] for target in record["targets"])
    assert told["filter"]
    assert told["before"] == everything
    assert told["after"] == everything - enforced < everything
    assert told["dead"] == []
    assert told["wide"] == []


def screenshot(browser: str, folder: Path, look: str, html: str) -> Grey:
    """The top of the page as it is painted at a width, in the light or in the dark."""
    width, height, scheme = LOOKS[look]
    (folder / "page.html").write_text(html)
    # Headless Chromium opens no window below 500 pixels, so a phone is a frame inside one.
    shown = folder / "shown.html"
    shown.write_text(
        f'<!DOCTYPE html><body style="margin:0"><iframe src="page.html" '
        f'style="width:{width}px;height:{height}px;border:0"></iframe>'
    )
    shot = folder / f"{look}.png"
    chromium(
        browser,
        folder / "p",
        "--allow-file-access-from-files",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--force-device-scale-factor={SCALE}",
        f"--window-size={max(width, 500)},{height}",
        f"--screenshot={shot}",
        shown.as_uri(),
    )
    return blocks(shot.read_bytes())[:, : int(width * SCALE) // BLOCK]


def alike(one: Grey, other: Grey) -> bool:
    """The same layout, whatever the fonts: few blocks differ much, and the whole hardly."""
    if one.shape != other.shape:
        return False
    apart = np.abs(one - other)
    return bool(apart.mean() < 4 and (apart > 48).mean() < 0.03)


@pytest.mark.parametrize("look", sorted(LOOKS))
def test_it_looks_as_it_did_when_somebody_looked(
    browser: str, record: dict[str, Any], tmp_path: Path, look: str
) -> None:
    """`PACKAGER_UPDATE_GOLDEN=1` keeps a new picture; look at the page before you keep it."""
    html = compliance_html(record)
    painted = screenshot(browser, tmp_path, look, html)
    file = GOLDEN / f"{look}.pgm"
    if os.environ.get("PACKAGER_UPDATE_GOLDEN"):
        write_grey(file, painted)
    meant = read_grey(file)
    if not alike(painted, meant):
        write_grey(tmp_path / "painted.pgm", painted)
        pytest.fail(f"{look}: the page looks different; see {tmp_path} and {file}")


def test_the_guard_notices_another_look(
    browser: str, record: dict[str, Any], tmp_path: Path
) -> None:
    """Without its margins the page is another one; so is the dark one in the light."""
    moved = compliance_html(record).replace("max-width: 64rem", "max-width: 40rem")
    meant = read_grey(GOLDEN / "desktop.pgm")
    assert not alike(screenshot(browser, tmp_path, "desktop", moved), meant)
    assert not alike(read_grey(GOLDEN / "desktop-dark.pgm"), meant)


def test_on_paper_the_filter_hides_nothing(
    browser: str, record: dict[str, Any], tmp_path: Path
) -> None:
    """As many pages with every status filtered away as with all shown."""
    html = compliance_html(record)
    hide = (
        "<script>for (const box of document.querySelectorAll('#filter input')) box.checked = false;"
        "document.getElementById('filter').dispatchEvent(new Event('change'));</script></body>"
    )
    pages = []
    for name, text in (("all", html), ("filtered", html.replace("</body>", hide))):
        source, pdf = tmp_path / f"{name}.html", tmp_path / f"{name}.pdf"
        source.write_text(text)
        chromium(
            browser,
            tmp_path / "p",
            f"--print-to-pdf={pdf}",
            "--no-pdf-header-footer",
            source.as_uri(),
        )
        pages.append(len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())))
    assert pages[0] == pages[1] > 3
