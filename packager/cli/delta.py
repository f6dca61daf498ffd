"""The commands around deltas: what travels and why, and making the whole bundle again."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console, human_size, table
from packager.cli.options import FILE, trust_options, with_console
from packager.domain.trust import TrustFiles

_SHOWN = 20


@click.group()
def delta() -> None:
    """Deltas: bundles of what an older release does not have (`packager bundle --delta-from`)."""


@delta.command()
@click.argument("delta_file", metavar="DELTA", type=FILE)
@with_console
def explain(console: Console, delta_file: Path) -> None:
    """Say what travels in a delta (or a whole bundle), and why. Nothing is verified.

    \b
    Example:
      packager delta explain 1.4-to-1.5.tar
    """
    from packager.bundle.explaining import explain as explained
    from packager.bundle.reading import BundleSource

    found = explained(BundleSource.at(delta_file))
    rows = [
        [line.label, line.fate.value, human_size(line.size), human_size(line.travels), line.why]
        for line in found.lines[:_SHOWN]
    ]
    rest = found.lines[_SHOWN:]
    if rest:
        travels = human_size(sum(line.travels for line in rest))
        size = human_size(sum(line.size for line in rest))
        rows.append([f"{len(rest)} smaller files", "", size, travels, ""])
    share = 100 * found.size / max(1, found.whole_size)
    base = f"stands on {found.base}" if found.base else "stands on no other release"
    console.result(
        f"{found.name} {found.version}  {base}\n\n"
        f"{table(['what', 'fate', 'size', 'travels', 'why'], rows)}\n\n"
        f"{human_size(found.size)} of {human_size(found.whole_size)} ({share:.1f} %), "
        f"of which {human_size(found.frame)} for lists and signatures",
        found.as_dict(),
    )


@delta.command()
@click.argument("old", type=FILE)
@click.argument("deltas", metavar="DELTA...", type=FILE, nargs=-1, required=True)
@trust_options
@click.option("-o", "--output", required=True, type=FILE, help="The bundle to write.")
@with_console
def apply(
    console: Console, old: Path, deltas: tuple[Path, ...], trust: TrustFiles, output: Path
) -> None:
    """Make the whole bundle of a delta and the release that it stands on: byte for byte the one
    that was never cut down. Several deltas are a chain, oldest first.

    \b
    Examples:
      packager delta apply filetype-1.4.0.tar 1.4-to-1.5.tar --key site.pub -o filetype-1.5.0.tar
      packager delta apply release-1.3 1.3-to-1.4.tar 1.4-to-1.5.tar --key site.pub -o new.tar
    """
    from packager import pipeline

    made = pipeline.apply_deltas(old, deltas, trust, output, console)
    console.result(f"{output}  {human_size(made.size)}", made.as_dict())
