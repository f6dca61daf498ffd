"""`packager ci`: a pipeline that packages on every tag."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console
from packager.cli.options import FILE, with_console
from packager.release import read_release
from packager.render.ci import PINNED, Provider, render_ci
from packager.workspace import refuse_existing, write_atomically


@click.command()
@click.argument("source", metavar="RELEASE.yaml", type=FILE)
@click.option(
    "--provider",
    required=True,
    type=click.Choice([one.value for one in Provider]),
    help="Whose CI engine runs it.",
)
@click.option(
    "--key",
    "public_key",
    default="site.pub",
    show_default=True,
    help="The public key in the repository, with which the pipeline verifies.",
)
@click.option("--runner", help="Label or tag of runners of your own, such as in the country.")
@click.option(
    "--install",
    default=PINNED,
    show_default=True,
    metavar="WORDS",
    help="What pip is told to install: it runs beside the signing key.",
)
@click.option("-o", "--output", type=FILE, help="The file to write.  [default: print it]")
@with_console
def ci(
    console: Console,
    source: Path,
    provider: str,
    public_key: str,
    runner: str | None,
    install: str,
    output: Path | None,
) -> None:
    """Write a release pipeline for GitHub Actions or GitLab CI.

    It checks, builds one signed release, then verifies and bundles every target side by side, and
    pushes where registries are named. Exit 3 and 4 stop it. The signing key stays in the
    provider's secrets. Make packager-requirements.txt with hashes (pip-compile
    --generate-hashes), or name a wheel in the repository: --install wheels/packager.whl.

    \b
    Examples:
      packager ci release.yaml --provider github -o .github/workflows/release.yml
      packager ci release.yaml --provider gitlab --runner frankfurt -o .gitlab-ci.yml
    """
    chosen = Provider(provider)
    file = source.as_posix()
    data = render_ci(read_release(source), chosen, file, public_key, runner, install)
    if output is None:
        console.result(data.decode().rstrip("\n"), {"place": chosen.place, "text": data.decode()})
        return
    refuse_existing(output)
    write_atomically(output, data)
    console.result(str(output), {"file": str(output)})
