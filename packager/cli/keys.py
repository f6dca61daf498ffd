"""Key pairs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from packager.cli.console import Console
from packager.cli.options import FILE, with_console


@click.group()
def keys() -> None:
    """Make and show signing keys (ECDSA P-256, what stock tools verify)."""


@keys.command()
@click.option("-o", "--output", required=True, type=FILE, help="The private key; .pub beside it.")
@with_console
def generate(console: Console, output: Path) -> None:
    """Make a key pair: OUTPUT (mode 0600) and the same name with .pub.

    The private key is encrypted when $PACKAGER_KEY_PASSWORD is set.

    \b
    Example:
      packager keys generate -o site.pem
    """
    from packager.attest.keys import generate_key

    password = os.environ.get("PACKAGER_KEY_PASSWORD")
    pair = generate_key(output, password.encode() if password else None)
    console.result(
        f"{pair.private}\n{pair.public}\nfingerprint {pair.fingerprint}",
        {
            "private": str(pair.private),
            "public": str(pair.public),
            "fingerprint": pair.fingerprint,
            "encrypted": bool(password),
        },
    )


@keys.command()
@click.argument("key", metavar="FILE|env://NAME")
@with_console
def public(console: Console, key: str) -> None:
    """Print the public half of a signing key.

    \b
    Example:
      packager keys public site.pem > site.pub
    """
    from packager.attest.keys import public_of

    pem = public_of(key).decode()
    console.result(pem.rstrip("\n"), {"public": pem})
