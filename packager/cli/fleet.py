"""Many sites: the table, the page, and bundles for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from packager.bundle.fleet import SiteStanding
from packager.cli.console import Console, human_size, table
from packager.cli.options import FILE, trust_options, with_console
from packager.domain.trust import TrustFiles
from packager.release_folder import ReleaseFolder


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@click.argument("sites", metavar="SITE.yaml...", type=FILE, nargs=-1, required=True)
@trust_options
@click.option("--html", type=FILE, help="Write the table as a page, too.")
@with_console
def fleet(
    console: Console, release: Path, sites: tuple[Path, ...], trust: TrustFiles, html: Path | None
) -> None:
    """Show how each site stands against a release. Nothing is made.

    A site's report (`packager status --json`, carried back) lies beside its profile, named after
    it: riyadh.yaml, riyadh.status.json.

    \b
    Example:
      packager fleet release sites/*.yaml --key site.pub --html fleet.html
    """
    from packager import fleet as fleets

    found, rows = fleets.standings(release, trust, sites, console)
    show(console, found, rows, html)


def show(
    console: Console, release: ReleaseFolder, rows: Sequence[SiteStanding], html: Path | None
) -> None:
    """The table of sites as the result, and the page where one is asked for."""
    from packager.bundle.fleet_page import fleet_html
    from packager.workspace import write_atomically

    if html:
        page = fleet_html(release.name, release.version, str(release.digest), rows)
        write_atomically(html, page.encode())
    lines = [
        [
            row.name,
            row.has or "–",
            row.drift.value,
            {None: "unknown", True: "yes", False: "no"}[row.ready],
            row.reported[:10] or "–",
            ", ".join(row.targets),
            row.bundle + (f" (on {row.base})" if row.base else ""),
            human_size(row.size) if row.size else "",
        ]
        for row in rows
    ]
    headings = ["site", "has", "drift", "ready", "reported", "target", "to bring", "size"]
    console.result(
        f"{release.name} {release.version}\n\n{table(headings, lines)}",
        {
            "release": {
                "name": release.name,
                "version": release.version,
                "digest": str(release.digest),
            },
            "sites": [row.as_dict() for row in rows],
        },
    )
