"""`packager diff`: what changed between two releases or two renderings."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console
from packager.cli.options import FILE, targets_option, with_console
from packager.domain.trust import TrustFiles
from packager.errors import PolicyRefusal


@click.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--key", "keys", multiple=True, type=FILE, help="Verify releases with this key first."
)
@targets_option
@with_console
def diff(
    console: Console, old: Path, new: Path, keys: tuple[Path, ...], targets_folder: Path | None
) -> int:
    """Tell in words what changed between two releases, or between two renderings.

    OLD and NEW are releases (folders or bundles) or what `packager render -o` wrote. Exit 3 when a
    way out was opened that the target's jurisdiction forbids.

    \b
    Examples:
      packager diff release-1.4.0 release-1.5.0 --key site.pub
      packager diff release manifests
    """
    from packager.differing import differ

    found = differ(old, new, TrustFiles(keys) if keys else None, targets_folder, console)
    lines = list(found.release)
    lines += [f"{name}: new target" for name in found.added]
    lines += [f"{name}: gone" for name in found.removed]
    for one in found.targets:
        lines.append(f"\n{one.target}")
        for way in one.comparison.opened:
            refused = f": refused by {', '.join(one.refused_by)}" if one.refused_by else ""
            lines.append(f"  egress opened to {way}{refused}")
        lines += [f"  egress closed to {way}" for way in one.comparison.closed]
        lines += [f"  {change}" for change in one.comparison.changes]
    if not keys:
        console.note("nothing was verified: give --key to check releases first")
    console.result("\n".join(lines).strip() or "nothing differs", found.as_dict())
    return PolicyRefusal.exit_code if found.refused else 0
