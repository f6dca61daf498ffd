"""`packager completion`: the script that a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    Examples:
      packager completion bash >> ~/.bashrc
      packager completion fish > ~/.config/fish/completions/packager.fish
    """
    kind = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    if kind:
        click.echo(kind(root, {}, "packager", "_PACKAGER_COMPLETE").source())
