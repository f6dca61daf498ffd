"""The catalogue: jurisdictions and hardware."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from packager.cli.console import Console, table
from packager.cli.options import FILE, targets_option, with_console
from packager.errors import InputError, PolicyRefusal
from packager.workspace import write_atomically


@click.group()
def targets() -> None:
    """Look at the profiles of jurisdictions and hardware, check them, or start your own."""


@targets.command(name="list")
@click.option("--hardware", "kind", flag_value="hardware", help="Only hardware profiles.")
@click.option("--jurisdictions", "kind", flag_value="jurisdictions", help="Only jurisdictions.")
@click.option("--vendor", help="Only hardware of this vendor, such as nvidia.")
@click.option("--arch", type=click.Choice(["amd64", "arm64"]), help="Only this architecture.")
@click.option("--provider", help="Only hardware driven by this execution provider, such as cuda.")
@targets_option
@with_console
def list_(
    console: Console,
    kind: str | None,
    vendor: str | None,
    arch: str | None,
    provider: str | None,
    targets_folder: Path | None,
) -> None:
    """List the profiles. --vendor, --arch and --provider list hardware alone.

    \b
    Examples:
      packager targets list --hardware
      packager targets list --vendor nvidia --arch amd64
    """
    from packager.catalogue import load_catalogue
    from packager.catalogue.selecting import HardwareFilter, known_words

    catalogue = load_catalogue(targets_folder)
    wanted = HardwareFilter(vendor, arch, provider)
    if wanted != HardwareFilter():
        kind = "hardware"
    parts, document = [], {}
    if kind != "hardware":
        profiles = [catalogue.jurisdiction(name) for name in catalogue.jurisdiction_ids()]
        rows = [
            [
                profile.id,
                profile.name,
                ", ".join(profile.parents),
                str(len(profile.rules)),
                profile.confidence.value,
                profile.reviewed,
            ]
            for profile in profiles
        ]
        head = ["jurisdiction", "name", "inherits", "rules", "confidence", "reviewed"]
        parts.append(table(head, rows))
        document["jurisdictions"] = [dict(zip(head, row, strict=True)) for row in rows]
    if kind != "jurisdictions":
        everything = [catalogue.hardware(name) for name in catalogue.hardware_ids()]
        hardware = wanted.of(everything)
        if not hardware:
            console.note(f"no hardware profile matches; {known_words(everything)}")
        rows = [
            [
                profile.id,
                profile.name,
                str(profile.platform),
                profile.execution_provider,
                ", ".join(precision.value for precision in profile.precisions),
                profile.proven.value,
                profile.confidence.value,
            ]
            for profile in hardware
        ]
        head = ["hardware", "name", "platform", "provider", "precisions", "proven", "confidence"]
        parts.append(table(head, rows))
        document["hardware"] = [dict(zip(head, row, strict=True)) for row in rows]
    console.result("\n\n".join(parts), document)


@targets.command()
@targets_option
@with_console
def detect(console: Console, targets_folder: Path | None) -> None:
    """Propose hardware profiles for this machine: its CPU, and its NVIDIA GPUs.

    \b
    Example:
      packager targets detect
    """
    from packager.catalogue import load_catalogue
    from packager.catalogue.detecting import look, propose, unmatched

    catalogue = load_catalogue(targets_folder)
    profiles = [catalogue.hardware(name) for name in catalogue.hardware_ids()]
    machine = look()
    proposals, unknown = propose(machine, profiles), unmatched(machine, profiles)
    rows = [[one.hardware, one.why, "; ".join(one.against) or "nothing"] for one in proposals]
    lines = [table(["hardware", "why", "against it"], rows)] if rows else ["no profile fits"]
    lines += [f"no profile for {device}: see packager targets new hardware" for device in unknown]
    console.result(
        "\n".join(lines),
        {
            "cpu": machine.cpu,
            "architecture": machine.architecture,
            "proposals": [
                {"hardware": one.hardware, "why": one.why, "against": list(one.against)}
                for one in proposals
            ],
            "unknown": list(unknown),
        },
    )


@targets.command()
@click.argument("profile", metavar="ID")
@targets_option
@with_console
def show(console: Console, profile: str, targets_folder: Path | None) -> None:
    """Show one profile with everything that it inherits, its laws and sources.

    \b
    Examples:
      packager targets show sa
      packager targets show nvidia-l4
    """
    from packager.catalogue import load_catalogue
    from packager.catalogue.showing import describe, describe_as_text

    catalogue = load_catalogue(targets_folder)
    found = catalogue.find(profile)
    console.result(describe_as_text(found), describe(found))


@targets.command()
@targets_option
@click.option("--today", help="The date to judge stale reviews by.  [default: today]")
@with_console
def lint(console: Console, targets_folder: Path | None, today: str | None) -> None:
    """Check all profiles: schema, inheritance, sources, region names, stale reviews.

    \b
    Example:
      packager targets lint --targets my-targets
    """
    from packager.catalogue import load_catalogue
    from packager.catalogue.linting import lint as lint_catalogue

    catalogue = load_catalogue(targets_folder)
    findings = lint_catalogue(catalogue, today or datetime.now(UTC).date().isoformat())
    if findings:
        raise InputError.of(findings)
    count = len(catalogue.jurisdiction_ids()) + len(catalogue.hardware_ids())
    console.result(f"{count} profiles, nothing to mend", {"profiles": count, "findings": []})


@targets.command()
@click.argument("kind", type=click.Choice(["jurisdiction", "hardware"]))
@click.argument("name", metavar="ID")
@click.option("--extends", "parent", help="A built-in profile to start from.")
@click.option("--in", "folder", type=FILE, default=Path("targets"), show_default=True)
@with_console
def new(console: Console, kind: str, name: str, parent: str | None, folder: Path) -> None:
    """Start a profile of your own, to be found with --targets.

    \b
    Example:
      packager targets new jurisdiction my-state --extends de --in my-targets
    """
    from packager.catalogue.scaffolding import scaffold

    file = folder / ("jurisdictions" if kind == "jurisdiction" else "hardware") / f"{name}.yaml"
    if file.exists():
        raise InputError("the profile exists already", where=str(file))
    today = datetime.now(UTC).date().isoformat()
    write_atomically(file, scaffold(kind, name, today, parent).encode())
    console.result(str(file), {"file": str(file)})


@targets.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.argument("releases", metavar="[RELEASE.yaml]...", nargs=-1, type=FILE)
@with_console
def diff(console: Console, old: Path, new: Path, releases: tuple[Path, ...]) -> int:
    """Compare two folders of profiles: what changed, and which releases it would now refuse.

    A folder with built-in profiles in it is a whole catalogue; another one extends the built-in
    one. Exit 3 when a release is refused that was not before.

    \b
    Example:
      packager targets diff targets-2026 targets services/*/release.yaml
    """
    from packager.law import law_diff

    found = law_diff(old, new, releases)
    changes = [
        [name, one.change.value, one.control, ", ".join(one.what)]
        for name, changed in found.profiles.items()
        for one in changed
    ]
    refusals = [
        row
        for one in found.refused
        for row in (
            [[one.release, one.target, "", one.gone]]
            if one.gone
            else [[one.release, one.target, each.control, each.why] for each in one.decisions]
        )
    ]
    parts = [
        table(["profile", "change", "rule", "what"], changes) if changes else "no rule differs"
    ]
    if releases:
        parts.append(
            table(["release", "target", "refused by", "why"], refusals)
            if refusals
            else f"{len(releases)} releases, none is refused that was not before"
        )
    console.result(
        "\n\n".join(parts),
        {
            "profiles": {
                name: [one.as_dict() for one in changed] for name, changed in found.profiles.items()
            },
            "refused": [one.as_dict() for one in found.refused],
        },
    )
    return PolicyRefusal.exit_code if found.refused else 0
