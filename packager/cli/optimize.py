"""The optimizer on its own: what would be tried, or what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from packager.cli.build import default_lock, default_measurements
from packager.cli.console import Console, human_size, table
from packager.cli.describing import read_request, release_options
from packager.cli.options import (
    FILE,
    jobs_option,
    measurements_option,
    scheduler_option,
    with_console,
)


@click.command()
@release_options
@click.option("-o", "--output", type=FILE, help="Where models and records go.")
@click.option(
    "--plan", is_flag=True, help="Make nothing: which candidates are lawful where, and why."
)
@click.option(
    "--ortpackage", is_flag=True, help="Also write the models as a package of ONNX Runtime."
)
@measurements_option
@jobs_option
@scheduler_option
@with_console
def optimize(
    console: Console,
    source: Path,
    output: Path | None,
    plan: bool,
    ortpackage: bool,
    measurements: Path | None,
    jobs: int | None,
    scheduler: str | None,
    targets_folder: Path | None,
    **options: Any,
) -> None:
    """Try the optimizer's candidates for each hardware profile and show the table.

    \b
    Examples:
      packager optimize release.yaml --plan
      packager optimize release.yaml -o optimized --ortpackage
      packager optimize model.onnx -j de -w arm64-v8 -p compose --samples samples.npz -o optimized
    """
    from packager import alone
    from packager.optimize.effort import Effort

    request = read_request(source, options)
    if plan:
        planned = alone.plan_optimization(request, targets_folder, console)
        console.result("\n\n".join(_plan(name, rows) for name, rows in planned.items()), planned)
        return
    if output is None:
        raise click.UsageError("name a folder for the result with -o, or ask for --plan")
    records = alone.optimize(
        request,
        targets_folder,
        measurements or default_measurements(default_lock(source)),
        output,
        console,
        package=ortpackage,
        effort=Effort(jobs or 0, scheduler),
    )
    tables = [_candidates(name, record) for name, record in records.items()]
    console.result("\n\n".join([*tables, str(output)]), records)


def _plan(hardware: str, rows: list[dict[str, Any]]) -> str:
    cells = [
        [row["name"], row["precision"], "try" if row["legal"] else "no", row["why"]] for row in rows
    ]
    return f"{hardware}\n{table(['candidate', 'format', '', 'why'], cells)}"


def _candidates(hardware: str, record: Any) -> str:
    rows = [
        [
            row["name"],
            row["verdict"],
            human_size(row["size"]) if row.get("size") else "",
            f"{row['measurement']['speedup']:.2f}×"
            if row.get("measurement", {}).get("speedup")
            else "",
            f"{row['quality']['value']:.4f}" if row.get("quality") else "",
            row["reason"],
        ]
        for row in record["candidates"]
    ]
    head = ["candidate", "verdict", "size", "speed", "quality", "why"]
    return f"{hardware} ({record['where']})\n{table(head, rows)}"
