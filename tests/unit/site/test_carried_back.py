"""There and back: what a site says of itself on the stick decides what it is brought next."""

from __future__ import annotations

import re

import pytest
from bundles import make_bundle, trusting

from packager import fleet
from packager.bundle.fleet import Drift
from packager.progress import SILENT


@pytest.mark.parametrize("keeps", ["true", "false"])
def test_a_report_carried_back_decides_between_a_delta_and_a_bundle(
    dash, releases, tmp_path, keeps
):
    dash.profile(stock=keeps)
    older = tmp_path / "older"
    older.mkdir()
    make_bundle(releases["1.0.0"], older / "1.0.0.tar")
    assert dash.install(releases["1.0.0"], older / "1.0.0.tar").code == 0

    carried = tmp_path / "sites" / "riyadh-lab.yaml"
    carried.parent.mkdir()
    carried.write_bytes(dash.site_file.read_bytes())
    told = dash.run(None, "status", "--json")
    carried.with_name("riyadh-lab.status.json").write_text(told.out)

    new = releases["1.1.0"]
    sticks = tmp_path / "sticks"
    _, (row,) = fleet.bundle_for(new.folder, trusting(new), [carried], sticks, older, SILENT)
    assert (row.drift, row.has, row.ready) == (Drift.BEHIND, "1.0.0", True)
    assert bool(row.base) == (keeps == "true")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row.reported)

    done = dash.install(new, sticks / row.bundle)
    assert done.code == 0, done.err
    carried.with_name("riyadh-lab.status.json").write_text(dash.run(None, "status", "--json").out)
    _, (row,) = fleet.standings(new.folder, trusting(new), [carried], SILENT)
    assert row.drift is Drift.CURRENT
