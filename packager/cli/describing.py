"""Options that describe a release on the command line: its file, or a bare model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from packager.cli.options import FILE, Command, RegionType, profile_ids, targets_option
from packager.declared import COUNTRY, base_named
from packager.domain.hardware import Precision
from packager.domain.model import Objective
from packager.domain.release import NO_BASE, ReleaseRequest
from packager.domain.target import DataClass, DeploymentPlatform
from packager.release import ModelOptions, read_release, request_for_model


class SiteCountryType(click.ParamType[tuple[str, str], str]):
    """`NAME=COUNTRY`: where a room of one's own stands."""

    name = "name=country"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        site, equals, country = value.removeprefix("site/").partition("=")
        if not site or not equals or not COUNTRY.fullmatch(country):
            self.fail(f"{value!r} is not like riyadh-lab=SA, with an ISO 3166 code", param, ctx)
        return site, country


def release_options(command: Command) -> Command:
    """What to package: a release file, or a model with the options that stand for one."""
    return click.argument("source", metavar="RELEASE.yaml|MODEL", type=FILE)(
        described_release(command)
    )


def described_release(command: Command) -> Command:
    """The options that describe a release beside its model, for a command that may need neither."""
    for option in reversed(
        (
            click.option(
                "-j",
                "--jurisdiction",
                shell_complete=profile_ids("jurisdictions"),
                help="Jurisdiction profile, such as de.",
            ),
            click.option(
                "-w",
                "--hardware",
                shell_complete=profile_ids("hardware"),
                help="Hardware profile, such as x86-64-v3.",
            ),
            click.option(
                "-p",
                "--platform",
                type=click.Choice([word.value for word in DeploymentPlatform]),
                help="What starts the image.",
            ),
            click.option(
                "--region", "regions", type=RegionType(), multiple=True, help="Where it may run."
            ),
            click.option(
                "--site",
                "sites",
                type=SiteCountryType(),
                multiple=True,
                help="The ISO 3166 country of a room of your own, for `--region site/NAME`.",
            ),
            click.option("--registry", help="Where the jurisdiction pulls from, host/path."),
            click.option("--license", "model_license", help="The model's licence, an SPDX id."),
            click.option("--samples", type=FILE, help="Representative inputs, an .npz."),
            click.option(
                "--data-class",
                type=click.Choice([word.value for word in DataClass]),
                help="The kind of data in the requests.  [default: personal]",
            ),
            click.option(
                "--objective",
                type=click.Choice([word.value for word in Objective]),
                help="What to optimize for.  [default: latency]",
            ),
            click.option(
                "--precision",
                type=click.Choice([word.value for word in Precision]),
                help="Pin the number format of the weights.",
            ),
            click.option(
                "--recipient",
                "recipients",
                type=FILE,
                multiple=True,
                help="Encrypt the model for whoever holds this public key's private half.",
            ),
            click.option(
                "--base",
                metavar="REF|PATH",
                help="An image to build on: in a registry, an OCI layout, or an archive; pinned by "
                "the lock.  [default: none, built from nothing]",
            ),
            click.option("--base-origin", help="The ISO 3166 country of the base's maker."),
            click.option("--name", help="The release's name.  [default: from the model's file]"),
            click.option("--version", "release_version", help="The release's version."),
            targets_option,
        )
    ):
        command = option(command)
    return command


def read_request(source: Path, options: dict[str, Any]) -> ReleaseRequest:
    """The request of a command that uses `release_options`; usage errors where options clash."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if source.suffix in (".yaml", ".yml"):
        if given:
            raise click.UsageError(
                f"{source} says this itself; leave out: "
                + ", ".join("--" + name.replace("_", "-") for name in sorted(given))
            )
        return read_release(source)
    missing = [name for name in ("jurisdiction", "hardware", "platform") if name not in given]
    if missing:
        raise click.UsageError(
            "a bare model needs " + ", ".join(f"--{name}" for name in missing),
        )
    base, origin = given.get("base"), given.get("base_origin")
    if origin and not base:
        raise click.UsageError("--base-origin goes with --base")
    if origin and not COUNTRY.fullmatch(origin):
        raise click.UsageError(f"--base-origin {origin!r} is no ISO 3166 code such as DE")
    return request_for_model(
        source,
        ModelOptions(
            jurisdiction=given["jurisdiction"],
            hardware=given["hardware"],
            platform=DeploymentPlatform(given["platform"]),
            regions=tuple(given.get("regions", ())),
            sites=_sites(given.get("sites", ())),
            name=given.get("name"),
            version=given.get("release_version", "0.1.0"),
            registry=given.get("registry"),
            model_license=given.get("model_license"),
            samples=given.get("samples"),
            data_class=DataClass(given.get("data_class", "personal")),
            objective=Objective(given.get("objective", "latency")),
            precision=Precision(given["precision"]) if "precision" in given else None,
            recipients=tuple(given.get("recipients", ())),
            base=base_named(base, Path(), origin) if base else NO_BASE,
        ),
    )


def pinned_by_lock(request: ReleaseRequest, source: Path) -> ReleaseRequest:
    """The request with its base named by digest, where the lock beside the source pins it."""
    if request.base.reference is None or request.base.digest is not None:
        return request
    from packager.steps.basing import with_locked_base

    return with_locked_base(request, source.with_name("packager.lock"))


def _sites(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Refuses a room that is said to stand in two countries."""
    sites = dict(pairs)
    for name, country in pairs:
        if sites[name] != country:
            raise click.UsageError(f"--site {name} is given as {country} and as {sites[name]}")
    return sites
