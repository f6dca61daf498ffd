"""The command that makes one file for the border."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console, human_size, table
from packager.cli.fleet import show
from packager.cli.options import FILE, SizeType, TargetType, trust_options, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@click.argument("more_sites", metavar="", type=FILE, nargs=-1)
@trust_options
@click.option("-o", "--output", required=True, type=FILE, help="The file to write.")
@click.option(
    "--target",
    "targets",
    type=TargetType(),
    multiple=True,
    help="Carry this target only; may be given several times.  [default: all]",
)
@click.option(
    "--split",
    "part_size",
    type=SizeType(),
    help="Write parts of this size, such as 4GB (3900MB fits FAT32), into a new folder.",
)
@click.option("--signing-key", help="With --split: the private key that signs the parts' index.")
@click.option(
    "--delta-from",
    type=FILE,
    metavar="OLD",
    help="Write only what this older release (folder, bundle or parts) does not have.",
)
@click.option(
    "--for",
    "sites",
    type=FILE,
    multiple=True,
    metavar="SITE.yaml...",
    help="Make what each of these sites needs, into a new folder.",
)
@click.option(
    "--older",
    type=FILE,
    metavar="DIR",
    help="With --for: releases that the sites kept; what they serve from it gets a delta.",
)
@click.option("--html", type=FILE, help="With --for: write the table of sites as a page, too.")
@with_console
def bundle(
    console: Console,
    release: Path,
    more_sites: tuple[Path, ...],
    trust: TrustFiles,
    output: Path,
    targets: tuple[TargetName, ...],
    part_size: int | None,
    signing_key: str | None,
    delta_from: Path | None,
    sites: tuple[Path, ...],
    older: Path | None,
    html: Path | None,
) -> None:
    """Write a release as one file that crosses the border: a tar that is the release, an OCI
    archive, and what `docker load` takes.

    The signature is checked first, every file while it is copied. A run that was interrupted is
    continued by the next one. Same release, same bytes.

    With --split the output is a folder of parts and their signed index; give that folder wherever
    a release is asked for. RELEASE may itself be a bundle or parts: this cuts them anew, or joins.

    \b
    Examples:
      packager bundle release --key site.pub -o filetype-1.4.0.tar
      packager bundle release --key site.pub -o riyadh.tar --target sa/x86-64-v3/compose
      packager bundle release --key site.pub -o stick --split 3900MB --signing-key site.pem
      packager bundle stick --key site.pub -o joined.tar
      packager bundle release-1.5 --key site.pub -o 1.4-to-1.5.tar --delta-from filetype-1.4.0.tar
      packager bundle release --key site.pub -o sticks --for sites/*.yaml --html fleet.html
    """
    from packager import fleet, pipeline

    if sites:
        if targets or part_size or delta_from:
            raise click.UsageError("--for decides on targets and deltas; it makes no parts")
        found, standings = fleet.bundle_for(
            release, trust, [*sites, *more_sites], output, older, console
        )
        show(console, found, standings, html)
        return
    if more_sites or older or html:
        raise click.UsageError("sites, --older and --html come with --for")
    if (part_size is None) != (signing_key is None):
        raise click.UsageError("--split and --signing-key come together")
    cut = pipeline.Cut(part_size, signing_key) if part_size and signing_key else None
    made = pipeline.bundle(release, trust, output, targets, console, cut, delta_from)
    rows = [[target] for target in made.targets]
    console.result(
        f"{output}  {human_size(made.size)}\n\n{table(['carries'], rows)}", made.as_dict()
    )
