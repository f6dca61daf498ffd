"""The command that fetches a release from a registry."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console, human_size
from packager.cli.options import FILE, trust_options, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles


@click.command()
@click.argument("name", metavar="REGISTRY/REPOSITORY:VERSION")
@trust_options
@click.option("-o", "--output", required=True, type=FILE, help="The bundle; it must not exist.")
@click.option("--target", "targets", multiple=True, help="Only this one; again for more.")
@click.option("--plain-http", is_flag=True, help="Without TLS, also beyond loopback.")
@with_console
def pull(
    console: Console,
    name: str,
    trust: TrustFiles,
    output: Path,
    targets: tuple[str, ...],
    plain_http: bool,
) -> None:
    """Fetch a release that `push` left in a registry, as a bundle of the very same bytes.

    Its signature is checked first, every file while it is written; what is not as signed leaves no
    file. `packager install oci://…` does this by itself.

    \b
    Example:
      packager pull registry.site.example/ml/filetype:1.4.0 --key site.pub -o filetype-1.4.0.tar
    """
    from packager import pipeline

    chosen = [TargetName.parse(target) for target in targets]
    made = pipeline.pull(name, trust, output, lambda _: chosen, plain_http, console)
    console.note(f"{human_size(made.size)}, targets: {', '.join(made.targets)}")
    console.result(str(made.path), made.as_dict())
