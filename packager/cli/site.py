"""The commands of a site: install, rollback, status, history, uninstall, and its profile."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import click

from packager.cli.console import Console, table
from packager.cli.options import FILE, profile_ids, target_option, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles

site_option = click.option(
    "--site",
    "site_file",
    type=FILE,
    default="site.yaml",
    show_default=True,
    help="The site's profile (packager site init).",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
name_argument = click.argument("name", required=False)


@click.command()
@click.argument("release", metavar="RELEASE")
@site_option
@click.option(
    "--key", "keys", multiple=True, type=FILE, help="A public key.  [default: the site's]"
)
@click.option("--require", type=click.IntRange(1), default=1, help="How many must have signed.")
@click.option("--base", "bases", multiple=True, type=FILE, help="What a delta stands on, in order.")
@click.option("--rotation", "rotations", multiple=True, type=FILE, help="A key's successor.")
@click.option("--revocations", multiple=True, type=FILE, help="A signed list of what to refuse.")
@click.option("--allow-rollback", "permits", multiple=True, type=FILE, help="A signed permit.")
@target_option
@click.option("--plain-http", is_flag=True, help="A registry without TLS, beyond loopback.")
@click.option(
    "--decryption-key",
    type=FILE,
    help="The private key that opens an encrypted model; $PACKAGER_KEY_PASSWORD opens the key.",
)
@click.option("--operator", default=None, help="Who does this, for the record.  [default: you]")
@dry_run_option
@with_console
def install(
    console: Console,
    release: str,
    site_file: Path,
    keys: tuple[Path, ...],
    require: int,
    bases: tuple[Path, ...],
    rotations: tuple[Path, ...],
    revocations: tuple[Path, ...],
    permits: tuple[Path, ...],
    target: TargetName | None,
    decryption_key: Path | None,
    operator: str | None,
    plain_http: bool,
    dry_run: bool,
) -> None:
    """Bring a release into service at this site, with no network and no lost request.

    Verifies, holds the release against the site and the machine, loads, starts beside the running
    version, tests with known answers through the real port, switches, watches; goes back by itself
    when the new version does not hold. RELEASE is a folder, a bundle, FILE.parts.json, a delta on
    what this site installed from a bundle, or oci://REGISTRY/REPOSITORY:VERSION (packager push).

    \b
    Examples:
      packager install /media/stick/filetype-1.4.0.tar --key site.pub --site site.yaml --dry-run
      packager install /media/stick/filetype-1.4.0.tar --key site.pub --site site.yaml
      packager install /media/stick/delta.tar --key site.pub
      packager install /media/stick/delta.tar --base filetype-1.3.0.tar --key site.pub
      packager install oci://registry.site.example/ml/filetype:1.4.0 --key site.pub
      packager install /media/stick/filetype-1.4.0.tar --key site.pub --decryption-key riyadh.pem
    """
    from packager.installing import install as bring_in

    done = bring_in(
        release,
        TrustFiles(
            keys, required=require, rotations=rotations, revocations=revocations, permits=permits
        ),
        site_file,
        bases=bases,
        target=target,
        operator=operator if operator is not None else _user(),
        dry_run=dry_run,
        plain_http=plain_http,
        decryption_key=decryption_key,
        progress=console,
    )
    console.result(done["message"], done)


@click.command()
@name_argument
@site_option
@click.option("--to", metavar="VERSION", help="A version that is still here.  [default: before]")
@dry_run_option
@with_console
def rollback(
    console: Console, name: str | None, site_file: Path, to: str | None, dry_run: bool
) -> None:
    """Bring the version before into service again, tested and without a lost request.

    \b
    Examples:
      packager rollback --site site.yaml
      packager rollback --site site.yaml --to 1.3.0
    """
    from packager import sites

    done = sites.rollback(site_file, name, to, dry_run=dry_run, progress=console)
    console.result(done["message"], done)


@click.command()
@name_argument
@site_option
@with_console
def status(console: Console, name: str | None, site_file: Path) -> int:
    """What is in service here and whether it answers. Exit 1 when it does not.

    With --json: the report that a stick carries back, for a bundle made for this site.

    \b
    Examples:
      packager status --site site.yaml
      packager status --site site.yaml --json > /media/stick/riyadh-lab.status.json
    """
    from packager import sites

    found = sites.status(site_file, name, console)
    console.result(_as_text(found), found)
    return 0 if found["ready"] else 1


@click.command()
@name_argument
@site_option
@with_console
def history(console: Console, name: str | None, site_file: Path) -> None:
    """Every attempt at this site; exit 4 when a record was changed or removed.

    \b
    Example:
      packager history --site site.yaml
    """
    from packager import sites

    records = sites.history(site_file, name)
    rows = [record.row() for record in records]
    console.result(
        table(["number", "time", "verb", "result", "version", "why"], rows),
        [record.document for record in records],
    )


@click.command()
@name_argument
@site_option
@click.option("--purge", is_flag=True, help="The history and the memory of versions too.")
@dry_run_option
@with_console
def uninstall(
    console: Console, name: str | None, site_file: Path, purge: bool, dry_run: bool
) -> None:
    """Remove a release from this site: its versions, its door or Service, its networks.

    \b
    Example:
      packager uninstall --site site.yaml
    """
    from packager import sites

    told = sites.uninstall(site_file, name, purge=purge, dry_run=dry_run, progress=console)
    console.result(told, {"message": told})


@click.group()
def site() -> None:
    """The profile of a site, and putting it in order after a power cut."""


@site.command()
@name_argument
@site_option
@with_console
def resume(console: Console, name: str | None, site_file: Path) -> None:
    """Put in order what a power cut or a killed command left: what should run, runs.

    \b
    Example:
      packager site resume --site site.yaml
    """
    from packager import sites

    told = sites.resume(site_file, name, console)
    console.result(told, {"message": told})


@site.command()
@click.option("-o", "--output", type=FILE, default="site.yaml", show_default=True)
@click.option("--name", help="What the place is called, such as riyadh-lab.")
@click.option("-j", "--jurisdiction", shell_complete=profile_ids("jurisdictions"))
@click.option("--region", help="provider/region, such as site/riyadh-lab.")
@click.option("--owner", help="Who answers for it.")
@click.option(
    "--engine",
    type=click.Choice(["docker", "podman", "quadlet", "containerd", "kubernetes"]),
)
@click.option("-w", "--hardware", shell_complete=profile_ids("hardware"))
@click.option("--key", "keys", multiple=True, type=FILE, help="A public key to trust.")
@click.option("--accept", multiple=True, help="Names of releases that may be installed.")
@click.option("--listen", help="Address and port.  [default: 127.0.0.1:8080]")
@click.option("--registry", help="For Kubernetes: where its nodes pull from, host:port/folder.")
@with_console
def init(console: Console, output: Path, **given: Any) -> None:
    """Write a site's profile: asks what is not given, and looks at the machine for the rest.

    \b
    Examples:
      packager site init
      packager site init --name riyadh-lab -j sa --region site/riyadh-lab --engine docker \\
          --key site.pub -o site.yaml
    """
    from packager import site_init

    proposal = site_init.propose_site()
    for line in proposal.told:
        console.note(line)
    answers = {
        "name": given["name"] or _ask("What is this place called", proposal.name),
        "jurisdiction": given["jurisdiction"] or _ask("Under whose law (a profile's id)", None),
        "engine": given["engine"] or _ask("Engine", proposal.engine),
    }
    if answers["engine"] == "kubernetes":
        answers["registry"] = given["registry"] or _ask("Registry that the nodes pull from", None)
    answers["region"] = given["region"] or _ask("Region", f"site/{answers['name']}")
    written = site_init.write_site(
        output,
        {
            **answers,
            "owner": given["owner"] or "",
            "hardware": given["hardware"] or proposal.hardware,
            "keys": given["keys"],
            "accept": given["accept"],
            "listen": given["listen"],
        },
    )
    console.result(str(output), written)


def _ask(question: str, default: str | None) -> str:
    return str(click.prompt(question, default=default, err=True))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _as_text(found: dict[str, Any]) -> str:
    ready = "ready" if found["ready"] else "NOT ready"
    serving = found["serving"] or "nothing"
    rows = [
        [slot["version"], slot["state"], slot["container"], slot["target"], slot["digest"][:12]]
        for slot in found["slots"]
    ]
    lines = [
        f"{found['release']} at {found['site']}: {serving} in service, {ready}",
        f"door {found['door']} on {found['listen']}, {found['engine']}",
        "",
        table(["version", "state", "container", "target", "release"], rows),
    ]
    if found["fallback"]:
        lines.append("being watched; the version before stands by")
    return "\n".join(lines)
