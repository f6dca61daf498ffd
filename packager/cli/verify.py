"""The commands that look at a release: verify, inspect, digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from packager.cli.console import Console, human_size, table
from packager.cli.options import FILE, trust_options, with_console
from packager.domain.trust import TrustFiles
from packager.errors import VerificationError
from packager.workspace import refuse_existing, write_atomically


@click.command()
@click.argument("release", metavar="RELEASE|IMAGE")
@trust_options
@click.option(
    "--base",
    "bases",
    type=FILE,
    multiple=True,
    help="For a delta: the release that it stands on; for a chain again, oldest first.",
)
@click.option("--repository", help="For an image in a mirror: the repository it was signed for.")
@click.option("--plain-http", is_flag=True, help="For an image: without TLS, also beyond loopback.")
@click.option(
    "--contents",
    is_flag=True,
    help="Unpack layers as well, and compare what comes out; for whoever made the release.",
)
@click.option("--report", type=FILE, help="Write what was checked to this file, .json or .html.")
@with_console
def verify(
    console: Console,
    release: str,
    trust: TrustFiles,
    bases: tuple[Path, ...],
    repository: str | None,
    plain_http: bool,
    contents: bool,
    report: Path | None,
) -> None:
    """Check every byte of a release against a public key that you trust. Works offline.

    RELEASE is a folder, or a bundle, which is read in place. IMAGE is one image in a registry, by
    tag or digest; its signature, its evidence and all of its layers are checked.

    The signature binds layers as they are stored. That they unpack to what the image promises is
    asked of its maker, before it leaves the house: --contents. Engines ask it again at loading.

    Exit 4 when anything is not as signed: nothing is believed, nothing is skipped.

    \b
    Examples:
      packager verify release --key site.pub
      packager verify release --key site.pub --contents
      packager verify release --key maker.pub --key auditor.pub --require 2
      packager verify release --key old.pub --rotation rotation.json --revocations revoked.json
      packager verify release --key site.pub --json > verification.json
      packager verify filetype-1.4.0.tar --key site.pub --report verification.html
      packager verify registry.example.de/ml/filetype@sha256:… --key site.pub
    """
    from packager import pipeline
    from packager.attest.verification_page import refusal, refuse_other_form, report_file

    if report:
        refuse_other_form(report)
        refuse_existing(report)
    try:
        if Path(release).exists() or not _names_image(release):
            found = pipeline.verify(
                Path(release), trust, console, bases, contents=contents
            ).as_dict()
        else:
            found = pipeline.verify_pushed(
                release,
                trust,
                console,
                repository=repository,
                plain_http=plain_http,
                contents=contents,
            ).as_dict()
    except VerificationError as error:
        if report:
            write_atomically(report, report_file(report, release, refusal(error.findings)))
        raise
    if report:
        write_atomically(report, report_file(report, release, found))
    steps: Any = found["steps"]
    rows = [[str(step["number"]), step["title"], step["result"]] for step in steps]
    named: Any = found["release"]
    subject = found.get("image") or named["digest"]
    missing: Any = found.get("left_out")
    left_out = f"\nnot in this bundle: {', '.join(missing)}" if missing else ""
    shown = f"{table(['step', 'checked', 'result'], rows)}\n\nverified  {subject}{left_out}"
    console.result(shown, found)


def _names_image(text: str) -> bool:
    """Whether it reads as `registry/repository:tag` or `@sha256:…` rather than as a path."""
    host, slash, rest = text.partition("/")
    is_host = host == "localhost" or any(sign in host for sign in ".:")
    return bool(slash and is_host and not host.startswith(".") and ("@" in rest or ":" in rest))


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
        f"{document['name']} {document['version']}  ({known})\n"
        f"{_models(document['models'])}\n"
        f"{table(['target', 'platform', 'image size', 'image'], targets)}\n\n"
        f"{table(['layer', 'size', 'targets', 'digest'], layers)}\n\n"
        f"stored once: {human_size(document['stored'])}, "
        f"as separate images: {human_size(document['unshared'])}",
        document,
    )


def _models(names: list[str]) -> str:
    return f"models: {', '.join(names)}\n" if len(names) > 1 else ""


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
