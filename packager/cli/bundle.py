"""The command that makes one file for the border."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console, human_size, table
from packager.cli.options import FILE, TargetType, trust_options, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@trust_options
@click.option("-o", "--output", required=True, type=FILE, help="The file to write.")
@click.option(
    "--target",
    "targets",
    type=TargetType(),
    multiple=True,
    help="Carry this target only; may be given several times.  [default: all]",
)
@with_console
def bundle(
    console: Console,
    release: Path,
    trust: TrustFiles,
    output: Path,
    targets: tuple[TargetName, ...],
) -> None:
    """Write a release as one file that crosses the border: a tar that is the release, an OCI
    archive, and what `docker load` takes.

    The signature is checked first, every file while it is copied. A run that was interrupted is
    continued by the next one. Same release, same bytes.

    \b
    Examples:
      packager bundle release --key site.pub -o filetype-1.4.0.tar
      packager bundle release --key site.pub -o riyadh.tar --target sa/x86-64-v3/compose
    """
    from packager import pipeline

    made = pipeline.bundle(release, trust, output, targets, console)
    rows = [[target] for target in made.targets]
    console.result(
        f"{output}  {human_size(made.size)}\n\n{table(['carries'], rows)}", made.as_dict()
    )
