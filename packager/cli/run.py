"""The commands that bring a release somewhere: run it here, push it, load it."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import click

from packager.cli.console import Console, table
from packager.cli.options import FILE, target_option, trust_options, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.errors import PackagerError


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@trust_options
@target_option
@click.option("--port", type=click.IntRange(1, 65535), help="On loopback.  [default: a free one]")
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="Docker, or the same runtime as a local process.",
)
@with_console
def run(
    console: Console,
    release: Path,
    command: tuple[str, ...],
    trust: TrustFiles,
    target: TargetName | None,
    port: int | None,
    engine: str,
) -> int:
    """Verify a release, start one of its targets here, and wait until it is ready.

    With a COMMAND after `--`, run it with the server's address in $PACKAGER_URL (and $PACKAGER_GRPC
    where the image has gRPC) and the model's name in $PACKAGER_MODEL, then stop; the exit code is
    the command's. Of several models, $PACKAGER_MODELS has each NAME/VERSION. Without a command,
    serve until Ctrl-C.

    \b
    Examples:
      packager run release --key site.pub
      packager run release --key site.pub --target de/x86-64-v3/kubernetes -- \\
          sh -c 'curl -s $PACKAGER_URL/v2'
    """
    from packager import running

    with running.running(
        release, trust, target=target, port=port, engine_choice=engine, progress=console
    ) as server:
        console.note(server.how)
        if not command:
            console.result(
                "\n".join(filter(None, (server.url, server.grpc and f"grpc://{server.grpc}"))),
                {
                    "url": server.url,
                    "grpc": server.grpc,
                    "target": server.target,
                    "models": [model.folder for model in server.models],
                    "how": server.how,
                },
            )
            console.note("serving; Ctrl-C stops it")
            with suppress(KeyboardInterrupt):  # the way to end it, not an accident
                server.wait()
            console.note("stopped")
            return 0
        environment = os.environ | {
            "PACKAGER_URL": server.url,
            "PACKAGER_MODELS": " ".join(model.folder for model in server.models),
        }
        environment |= {"PACKAGER_MODEL": server.model} if server.model else {}
        environment |= {"PACKAGER_GRPC": server.grpc} if server.grpc else {}
        try:
            return subprocess.run(command, env=environment, check=False).returncode
        except OSError as error:
            raise PackagerError(
                "the command cannot be started", where=command[0], got=error.strerror
            ) from error


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@click.argument("registry", required=False)
@trust_options
@click.option("--plain-http", is_flag=True, help="Without TLS, also beyond loopback.")
@with_console
def push(
    console: Console, release: Path, registry: str | None, trust: TrustFiles, plain_http: bool
) -> None:
    """Push a verified release's images and Helm charts, with signatures and attestations, and the
    release itself to install from.

    RELEASE is a folder or a bundle. Without REGISTRY each goes to its jurisdiction's registry, as
    the release says. Charts lie below it in charts/, where `helm install oci://…` finds them.

    \b
    Examples:
      packager push release --key site.pub
      packager push release 127.0.0.1:5000/ml --key site.pub
      packager push filetype-1.4.0.tar registry.in-country.example/ml --key site.pub
    """
    from packager import pipeline

    pushed = pipeline.push(release, trust, registry, plain_http, console)
    console.result(table(["name", "pinned"], [list(row) for row in pushed.items()]), pushed)


@click.command()
@click.argument("release", metavar="RELEASE", type=FILE)
@trust_options
@target_option
@with_console
def load(console: Console, release: Path, trust: TrustFiles, target: TargetName | None) -> None:
    """Load a verified release's image into the local Docker engine.

    \b
    Example:
      packager load release --key site.pub --target sa/x86-64-v3/compose
    """
    from packager import running

    loaded = running.load(release, trust, target, console)
    console.result(table(["target", "image id"], [list(row) for row in loaded.items()]), loaded)
