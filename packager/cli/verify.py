"""The commands that look at a release: verify, inspect, digest."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console, human_size, table
from packager.cli.options import FILE, trust_options, with_console
from packager.domain.trust import TrustFiles


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@trust_options
@click.option(
    "--base",
    "bases",
    type=FILE,
    multiple=True,
    help="For a delta: the release that it stands on; for a chain again, oldest first.",
)
@with_console
def verify(console: Console, release: Path, trust: TrustFiles, bases: tuple[Path, ...]) -> None:
    """Check every byte of a release against a public key that you trust. Works offline.

    RELEASE is a folder, or a bundle, which is read in place.

    Exit 4 when anything is not as signed: nothing is believed, nothing is skipped.

    \b
    Examples:
      packager verify release --key site.pub
      packager verify release --key maker.pub --key auditor.pub --require 2
      packager verify release --key old.pub --rotation rotation.json --revocations revoked.json
      packager verify release --key site.pub --json > verification.json
      packager verify filetype-1.4.0.tar --key site.pub
    """
    from packager import pipeline

    report = pipeline.verify(release, trust, console, bases)
    rows = [[str(step.number), step.title, step.result] for step in report.steps]
    left_out = f"\nnot in this bundle: {', '.join(report.left_out)}" if report.left_out else ""
    console.result(
        f"{table(['step', 'checked', 'result'], rows)}\n\nverified  {report.digest}{left_out}",
        report.as_dict(),
    )


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@click.option("--key", type=FILE, help="Verify with this public key first.")
@with_console
def inspect(console: Console, release: Path, key: Path | None) -> None:
    """Show what is in a release: targets, images, layers and what they share.

    \b
    Example:
      packager inspect release --key site.pub
    """
    from packager import inspecting

    trust = TrustFiles((key,)) if key else None
    document = inspecting.inspect(release, trust, console)
    targets = [
        [target["name"], target["platform"], human_size(target["size"]), target["image"]]
        for target in document["targets"]
    ]
    layers = [
        [layer["kind"], human_size(layer["size"]), str(len(layer["targets"])), layer["digest"]]
        for layer in document["layers"]
    ]
    known = "verified" if document["verified"] else "NOT VERIFIED: give --key to check it"
    console.result(
        f"{document['name']} {document['version']}  ({known})\n\n"
        f"{table(['target', 'platform', 'image size', 'image'], targets)}\n\n"
        f"{table(['layer', 'size', 'targets', 'digest'], layers)}\n\n"
        f"stored once: {human_size(document['stored'])}, "
        f"as separate images: {human_size(document['unshared'])}",
        document,
    )


@click.command()
@click.argument("path", metavar="RELEASE|MODEL", type=FILE)
@with_console
def digest(console: Console, path: Path) -> None:
    """Print the one digest that names a release, or a model.

    \b
    Examples:
      packager digest release
      packager digest model.onnx
    """
    from packager import inspecting

    found = str(inspecting.digest(path))
    console.result(found, {"path": str(path), "digest": found})
