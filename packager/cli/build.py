"""The commands that make a release, and the ones that run one of its steps alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from packager.cli.console import Console, human_size, table
from packager.cli.describing import (
    described_release,
    pinned_by_lock,
    read_request,
    release_options,
)
from packager.cli.options import (
    FILE,
    jobs_option,
    lock_option,
    measurements_option,
    mirror_option,
    scheduler_option,
    target_option,
    trust_options,
    wheels_option,
    with_console,
)
from packager.content import Compression
from packager.domain.target import DataClass, TargetName
from packager.domain.trust import TrustFiles
from packager.errors import InputError


@click.command()
@release_options
@click.option("-o", "--output", required=True, type=FILE, help="The release folder to make.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="Signing key: a file, or env://NAME; further ones sign beside it.  [default: signing.key]",
)
@lock_option
@measurements_option
@jobs_option
@scheduler_option
@mirror_option
@wheels_option
@click.option(
    "--slim/--no-slim",
    default=True,
    help="Cut ONNX Runtime's CUDA provider down to the profile's GPU.  [default: slim]",
)
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd"]),
    help="Of layers without weights.  [default: zstd where every target's engine reads it]",
)
@click.option("--templates", type=FILE, help="A folder of templates that override built-in ones.")
@with_console
def build(
    console: Console,
    source: Path,
    output: Path,
    keys: tuple[str, ...],
    lock_file: Path | None,
    measurements: Path | None,
    jobs: int | None,
    scheduler: str | None,
    mirror: str | None,
    wheels: Path | None,
    slim: bool,
    compression: str | None,
    templates: Path | None,
    targets_folder: Path | None,
    **options: Any,
) -> None:
    """Build a signed release folder from RELEASE.yaml, or from a bare MODEL.

    \b
    Examples:
      packager build release.yaml --key site.pem -o release
      packager build model.onnx -j de -w x86-64-v3 -p kubernetes \\
          --region aws/eu-central-1 --license Apache-2.0 --key env://SIGNING_KEY -o release
    """
    from packager import pipeline, steps
    from packager.optimize.effort import Effort

    request = read_request(source, options)
    signing_keys = keys or request.signing_keys
    if not signing_keys:
        raise InputError(
            "no signing key is given; a release is always signed",
            expected="--key FILE, --key env://NAME, or signing.key in release.yaml",
            next_step="make one: packager keys generate -o site.pem",
        )
    lock_path = lock_file or default_lock(source)
    release = pipeline.build(
        request,
        pipeline.BuildOptions(
            output=output,
            key=signing_keys[0],
            also=tuple(signing_keys[1:]),
            lock_file=lock_path,
            measurements=measurements or default_measurements(lock_path),
            effort=Effort(jobs or 0, scheduler),
            sources=steps.Sources(
                mirror, wheels, slim, Compression(compression) if compression else None
            ),
            targets=targets_folder,
            templates=templates,
        ),
        console,
    )
    rows = [[name, reference] for name, reference in release.targets]
    rows += [["every architecture", reference] for reference in release.indexes]
    console.result(
        f"{table(['target', 'image'], rows)}\n\n{release.folder}  {release.digest}",
        {
            "release": str(release.folder),
            "digest": str(release.digest),
            "name": release.name,
            "version": release.version,
            "targets": dict(release.targets),
            "indexes": list(release.indexes),
        },
    )


@click.command()
@click.argument("source", metavar="RELEASE.yaml|MODEL", type=FILE, required=False)
@described_release
@click.option(
    "--matrix",
    is_flag=True,
    help="No model: for whose data inference may happen where, for every pair (-j for one row).",
)
@click.option("--all", "everything", is_flag=True, help="List what does not apply as well.")
@with_console
def check(
    console: Console,
    source: Path | None,
    matrix: bool,
    everything: bool,
    targets_folder: Path | None,
    **options: Any,
) -> int:
    """Decide every rule for every target; build nothing. Exit 3 when one is violated.

    \b
    Examples:
      packager check release.yaml
      packager check model.onnx -j sa -w nvidia-l4 -p compose --region gcp/me-central2 --json
      packager check --matrix --data-class health
      packager check --matrix -j de
    """
    from packager import pipeline
    from packager.cli.decisions import explained

    if matrix:
        return _transfers(console, source, targets_folder, options)
    if source is None:
        raise click.UsageError("name a release file or a model, or ask for --matrix")
    request = pinned_by_lock(read_request(source, options), source)
    _, decisions = pipeline.check(request, targets_folder)
    console.result(
        explained({str(name): made for name, made in decisions.items()}, everything),
        {str(name): [decision.as_dict() for decision in made] for name, made in decisions.items()},
    )
    if console.json_output:  # one document on stdout: the violations stand in it already
        return pipeline.exit_code(decisions)
    pipeline.refuse_violations(decisions)
    return 0


def _transfers(
    console: Console, source: Path | None, targets_folder: Path | None, options: dict[str, Any]
) -> int:
    """`check --matrix`: a table, no decision on a target, hence always exit 0."""
    from packager import pipeline
    from packager.cli.transfers import LEGEND, explained, grid

    given = {name for name, value in options.items() if value not in (None, ())}
    if source is not None or given - {"jurisdiction", "data_class"}:
        raise click.UsageError("--matrix goes with --jurisdiction, --data-class and --targets only")
    data = DataClass(options.get("data_class") or DataClass.PERSONAL.value)
    pairs = pipeline.transfers(targets_folder, data, options.get("jurisdiction"))
    shown = explained(pairs) if options.get("jurisdiction") else f"{grid(pairs)}\n\n{LEGEND}"
    console.result(
        f"data: {data.value}\n\n{shown}",
        {"data": data.value, "transfers": [pair.as_dict() for pair in pairs]},
    )
    return 0


@click.command()
@release_options
@lock_option
@mirror_option
@wheels_option
@click.option("--upgrade", is_flag=True, help="Resolve everything anew, even when still fresh.")
@with_console
def lock(
    console: Console,
    source: Path,
    lock_file: Path | None,
    mirror: str | None,
    wheels: Path | None,
    upgrade: bool,
    targets_folder: Path | None,
    **options: Any,
) -> None:
    """Pin every foreign byte by name, version and digest in packager.lock, and fetch it.

    A lock that is fresh, and whose packages can still be had, is kept as it is.

    \b
    Examples:
      packager lock release.yaml
      packager lock release.yaml --upgrade
    """
    from packager import alone, steps

    path = lock_file or default_lock(source)
    written = alone.lock(
        read_request(source, options),
        targets_folder,
        path,
        steps.Sources(mirror, wheels),
        upgrade,
        console,
    )
    rows = [
        [
            environment.key,
            str(len(environment.packages)),
            str(len(environment.wheels)),
            human_size(
                sum(package.size for package in environment.packages)
                + sum(wheel.size for wheel in environment.wheels)
            ),
        ]
        for environment in written.environments
    ]
    console.result(
        f"{table(['environment', 'packages', 'wheels', 'download'], rows)}\n\n{path}",
        {"lock": str(path), "environments": [row[0] for row in rows]},
    )


@click.command()
@release_options
@click.option("--release", required=True, type=FILE, help="The release folder with the images.")
@trust_options
@target_option
@click.option("-o", "--output", required=True, type=FILE, help="The folder to write.")
@click.option("--templates", type=FILE, help="A folder of templates that override built-in ones.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A figure of your own, such as replicas.maximum=40 or memory_mib=4096.",
)
@with_console
def render(
    console: Console,
    source: Path,
    release: Path,
    trust: TrustFiles,
    target: TargetName | None,
    output: Path,
    templates: Path | None,
    settings: tuple[str, ...],
    targets_folder: Path | None,
    **options: Any,
) -> None:
    """Render manifests again, for the images of a verified release.

    Regions, profiles and templates may be others than at the build; the images stay those of the
    release, by digest. What comes out is not signed: it is yours.

    \b
    Example:
      packager render release.yaml --release release --key site.pub \\
          --templates my-templates --set replicas.maximum=40 -o manifests
    """
    from packager import alone

    written = alone.render(
        pinned_by_lock(read_request(source, options), source),
        targets_folder,
        release,
        trust,
        target,
        output,
        templates,
        settings,
        console,
    )
    console.result("\n".join(str(output / name) for name in written), {"files": list(written)})


def default_lock(source: Path) -> Path:
    """`packager.lock` beside the release file or the model."""
    return source.with_name("packager.lock")


def default_measurements(lock_path: Path) -> Path:
    """`packager.measurements.json` beside the lock."""
    return lock_path.with_name("packager.measurements.json")
