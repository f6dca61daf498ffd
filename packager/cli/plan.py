"""`packager plan`: where to serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from packager.cli.console import Console, table
from packager.cli.options import FILE, targets_option, with_console
from packager.domain.target import DataClass
from packager.errors import InputError


@click.command()
@click.argument("demand", metavar="DEMAND.yaml", type=FILE)
@click.argument("sites", metavar="SITES.yaml", type=FILE)
@click.option("--service", type=FILE, help="What a replica does on each hardware, a YAML file.")
@click.option("--measured", type=FILE, help="A release folder: its own measurements, verified.")
@click.option("--key", type=FILE, help="The public key of that release.")
@click.option("--release", type=FILE, help="The release.yaml whose targets are to be decided.")
@click.option(
    "--minimize",
    type=click.Choice(["cost", "carbon", "latency"]),
    default="cost",
    show_default=True,
    help="What counts; the others break ties.",
)
@click.option("--carbon-price", type=float, help="Money for a tonne of CO2e, added to the cost.")
@click.option(
    "--latency-price", type=float, help="Money for a million requests and ms, added to the cost."
)
@click.option("--seconds", type=float, default=60.0, show_default=True, help="For each solution.")
@click.option("--explore/--no-explore", default=True, help="Ask what-if.  [default: explore]")
@click.option(
    "--law",
    "laws",
    type=FILE,
    multiple=True,
    help="Another version of the profiles, a folder: what would move, and what it costs.",
)
@click.option(
    "--as-data",
    type=click.Choice([data.value for data in DataClass]),
    multiple=True,
    help="The same demand with this class of data: what would move, and what it costs.",
)
@click.option("--rehearse", is_flag=True, help="Simulate a spike, a lost site, a roll-out.")
@click.option("-o", "--output", type=FILE, help="A folder for the report, routing and releases.")
@click.option("--write", type=FILE, help="The release file with its targets decided, one class.")
@targets_option
@with_console
def plan(
    console: Console,
    demand: Path,
    sites: Path,
    output: Path | None,
    write: Path | None,
    **options: Any,
) -> None:
    """The cheapest lawful placement of DEMAND on SITES that is fast enough.

    \b
    Examples:
      packager plan demand.yaml sites.yaml --service service.yaml
      packager plan demand.yaml sites.yaml --measured release --key site.pub -o plan
      packager plan demand.yaml sites.yaml --service service.yaml \\
          --release release.yaml --write release.planned.yaml
      packager plan demand.yaml sites.yaml --service service.yaml --law targets-2027
    """
    from packager.placing import plan_placement, write_plan
    from packager.workspace import refuse_existing, write_atomically

    _refuse_odd(options, write)
    for path in (output, write):
        if path is not None:
            refuse_existing(path)
    planned = plan_placement(demand, sites, _options(options), console)
    if output is not None:
        write_plan(planned, _service_name(options["release"]), output)
    if write is not None:
        if len(planned.releases) != 1:
            raise InputError(
                "the demands are of several classes of data, and a release has one",
                where=str(demand),
                got=", ".join(sorted(planned.releases)),
                next_step="write them all with -o DIR, or plan each class by itself",
            )
        (name,) = planned.releases
        write_atomically(write, planned.release_text(name, write.parent).encode())
    console.result(_told(planned.record, output, write), planned.record)


def _refuse_odd(options: Mapping[str, Any], write: Path | None) -> None:
    if (options["service"] is None) == (options["measured"] is None):
        raise click.UsageError("give the model's figures: either --service or --measured")
    if options["measured"] is not None and options["key"] is None:
        raise click.UsageError("--measured needs --key: nothing is believed before the signature")
    if write is not None and options["release"] is None:
        raise click.UsageError("--write needs --release, the file whose targets are decided")
    for name in ("carbon_price", "latency_price", "seconds"):
        if options[name] is not None and not 0 <= options[name] < 1e9:
            raise click.UsageError(f"--{name.replace('_', '-')} must be at least 0")


def _options(options: Mapping[str, Any]) -> Any:
    from packager.domain.placement import Weights
    from packager.placing import PlanOptions

    # What is not minimized still breaks ties: by a millionth of its natural size.
    weights = {
        "cost": Weights(1.0, options["carbon_price"] or 0.0, options["latency_price"] or 1e-6),
        "carbon": Weights(1e-6, 1000.0, 0.0),
        "latency": Weights(1e-6, 0.0, 10.0),
    }[options["minimize"]]
    return PlanOptions(
        objective=weights,
        service=options["service"],
        measured=options["measured"],
        key=options["key"],
        release=options["release"],
        targets=options["targets_folder"],
        seconds=options["seconds"],
        explore=options["explore"],
        rehearse=options["rehearse"],
        laws=options["laws"],
        as_data=tuple(map(DataClass, options["as_data"])),
    )


def _service_name(release: Path | None) -> str:
    from packager.release import read_release

    return read_release(release).name if release is not None else "inference"


def _told(record: Mapping[str, Any], output: Path | None, write: Path | None) -> str:
    rows = [
        [
            demand["name"],
            served["site"],
            served["hardware"],
            f"{served['share'] * 100:.0f} %",
            f"{served['reply_ms']:.0f} of {demand['limit_ms']:.0f} ms",
            f"{demand['cost_per_million']:.2f}",
            f"{demand['cost']:.0f}",
        ]
        for demand in record["demands"]
        for served in demand["served_by"]
    ]
    money = record["currency"]
    carbon = record["carbon_kg"]
    lines = [
        table(
            ["demand", "site", "hardware", "share", "reply", f"{money}/million", f"{money}/month"],
            rows,
        ),
        "",
        f"{record['cost']:.0f} {money} a month, mean round trip {record['mean_rtt_ms']:.0f} ms, "
        + (f"{carbon:.0f} kg CO2e" if carbon is not None else "carbon not known")
        + f", within {record['gap'] * 100:.1f} % of the optimum (estimated)",
    ]
    for other in record.get("other_law", ()):
        lines += ["", *_other_law(other, money)]
    lines += [str(path) for path in (output, write) if path is not None]
    return "\n".join(lines)


def _other_law(other: Mapping[str, Any], money: str) -> list[str]:
    if other["cost"] is None:
        return [
            f"Under another law ({other['what']}) there is no placement:",
            *(f"  {finding['what']}" for finding in other["refused"]),
        ]
    rows = [
        [
            demand["name"],
            ", ".join(demand["moves_from"]),
            ", ".join(demand["moves_to"]),
            f"{round(demand['cost_after'] - demand['cost_before']):+d}",
        ]
        for demand in other["demands"]
        if demand["moves_from"]
        or demand["moves_to"]
        or abs(demand["cost_after"] - demand["cost_before"]) >= 1
    ]
    told = f"Under another law ({other['what']}): {other['cost']:.0f} {money} a month"
    head = [f"{told}, {round(other['difference']):+d}"]
    return [*head, table(["demand", "from", "to", f"{money}/month"], rows)] if rows else head
