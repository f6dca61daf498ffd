"""The command that opens encrypted images."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console
from packager.cli.options import FILE, target_option, trust_options, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@trust_options
@target_option
@click.option(
    "--decryption-key",
    required=True,
    type=FILE,
    help="The private key of a recipient; opened with $PACKAGER_KEY_PASSWORD if it is encrypted.",
)
@click.option("-o", "--output", required=True, type=FILE, help="The OCI image layout to write.")
@with_console
def decrypt(
    console: Console,
    release: Path,
    trust: TrustFiles,
    target: TargetName | None,
    decryption_key: Path,
    output: Path,
) -> None:
    """Open a target's encrypted image with the key that is held in its country.

    RELEASE is a folder or a bundle, and is verified first. What comes out is the plain image, whose
    id is the one that release.json names. skopeo, podman and CRI-O open encrypted images by
    themselves.

    \b
    Examples:
      packager decrypt release --key site.pub --decryption-key riyadh.pem -o plain
      tar -C plain -cf - . | docker load
    """
    from packager import decrypting

    made = decrypting.decrypt(release, trust, target, decryption_key, output, console)
    console.result(f"{made.layout}  {made.reference}\nimage id {made.image_id}", made.as_dict())
