"""Key pairs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from packager.cli.console import Console
from packager.cli.options import FILE, with_console
from packager.digest import Digest
from packager.workspace import refuse_existing, write_atomically

KEY = "FILE|env://NAME|pkcs11:…"
output_option = click.option(
    "-o", "--output", required=True, type=FILE, help="The statement to write."
)


@click.group()
def keys() -> None:
    """Make, show, rotate and revoke signing keys."""


@keys.command()
@click.option("-o", "--output", required=True, type=FILE, help="The private key; .pub beside it.")
@click.option(
    "--algorithm",
    type=click.Choice(["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-3072", "ml-dsa-65"]),
    default="ecdsa-p256",
    show_default=True,
    help="The first key of a release is ecdsa-p256, what stock tools verify; others sign beside.",
)
@with_console
def generate(console: Console, output: Path, algorithm: str) -> None:
    """Make a key pair: OUTPUT (mode 0600) and the same name with .pub.

    The private key is encrypted when $PACKAGER_KEY_PASSWORD is set.

    \b
    Examples:
      packager keys generate -o site.pem
      packager keys generate -o quantum.pem --algorithm ml-dsa-65
    """
    from packager.attest.keys import generate_key

    password = os.environ.get("PACKAGER_KEY_PASSWORD")
    pair = generate_key(output, password.encode() if password else None, algorithm)
    console.result(
        f"{pair.private}\n{pair.public}\nfingerprint {pair.fingerprint}",
        {
            "private": str(pair.private),
            "public": str(pair.public),
            "fingerprint": pair.fingerprint,
            "algorithm": algorithm,
            "encrypted": bool(password),
        },
    )


@keys.command()
@click.argument("key", metavar=KEY)
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


@keys.command()
@click.option("--old", required=True, metavar=KEY, help="The key that sites trust now.")
@click.option("--new", required=True, metavar=KEY, help="The key that they shall trust instead.")
@click.option(
    "--last",
    type=click.IntRange(0),
    help="The newest counter that OLD vouches for.  [default: none]",
)
@output_option
@with_console
def rotate(console: Console, old: str, new: str, last: int | None, output: Path) -> None:
    """Write a statement, signed with OLD, that NEW follows it.

    Give it to every site: `packager verify --key old.pub --rotation rotation.json`. With --last,
    releases up to that counter stay valid under OLD, so that a site can still go back to them.

    \b
    Example:
      packager keys rotate --old site.pem --new site-2027.pem --last 100004000009 -o rotation.json
    """
    from packager.attest.keys import open_signer, public_key_of
    from packager.attest.trust_statements import rotation

    first, second = open_signer(old), open_signer(new)
    _write(output, rotation(first, second, last))
    described = {
        "statement": str(output),
        "old": public_key_of(first).fingerprint,
        "new": public_key_of(second).fingerprint,
    }
    console.result(f"{output}\n{described['old']} → {described['new']}", described)


@keys.command()
@click.option("--key", required=True, metavar=KEY, help="A key that sites trust, to sign the list.")
@click.option(
    "--number", required=True, type=click.IntRange(1), help="Higher than that of the last list."
)
@click.option(
    "--revoke", "revoked", multiple=True, type=FILE, help="The public key that is to be refused."
)
@click.option(
    "--release", "releases", multiple=True, help="The digest of a release that is to be refused."
)
@output_option
@with_console
def revoke(
    console: Console,
    key: str,
    number: int,
    revoked: tuple[Path, ...],
    releases: tuple[str, ...],
    output: Path,
) -> None:
    """Write a signed list of keys and releases that sites shall refuse.

    Each list holds all that is revoked so far: sites keep only the newest one.

    \b
    Example:
      packager keys revoke --key site-2027.pem --number 1 --revoke stolen.pub -o revoked.json
    """
    from packager.attest.keys import open_signer, read_public_key
    from packager.attest.trust_statements import revocation_list

    keys = [read_public_key(path).fingerprint for path in revoked]
    digests = [_digest(text) for text in releases]
    if not keys and not digests:
        raise click.UsageError("nothing to revoke: give --revoke or --release")
    _write(output, revocation_list(open_signer(key), number, keys, digests))
    revokes = f"{_so_many(len(keys), 'key')}, {_so_many(len(digests), 'release')}"
    console.result(
        f"{output}\nlist {number}: {revokes}",
        {"statement": str(output), "number": number, "keys": keys, "releases": list(releases)},
    )


def _so_many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@keys.command("allow-rollback")
@click.option("--key", required=True, metavar=KEY, help="A key that sites trust.")
@click.option("--release", required=True, help="The digest of the older release.")
@click.option(
    "--installed", required=True, type=click.IntRange(1), help="The counter of the newer one."
)
@output_option
@with_console
def allow_rollback(console: Console, key: str, release: str, installed: int, output: Path) -> None:
    """Write a signed permit to install an older release over the newer one.

    It holds for this release over that counter, and for nothing else.

    \b
    Example:
      packager keys allow-rollback --key site.pem --release $(packager digest old) \\
          --installed 100004000009 -o permit.json
    """
    from packager.attest.keys import open_signer
    from packager.attest.trust_statements import rollback_permit

    _write(output, rollback_permit(open_signer(key), _digest(release), installed))
    console.result(
        str(output), {"statement": str(output), "release": release, "installed": installed}
    )


def _write(output: Path, data: bytes) -> None:
    refuse_existing(output)
    write_atomically(output, data)


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except ValueError:
        raise click.UsageError(
            f"{text[:80]!r} is not sha256: and 64 hexadecimal digits, as `packager digest` prints"
        ) from None
