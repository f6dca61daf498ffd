"""Options that several commands share, each a named decorator, and Click parameter types."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import update_wrapper, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from packager.cli.console import Console
from packager.domain.target import Region, TargetName
from packager.domain.trust import ANY_RELEASE, TrustFiles

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)


class RegionType(click.ParamType[Region, str]):
    """`provider/region`."""

    name = "provider/region"

    def convert(
        self, value: str | Region, param: click.Parameter | None, ctx: click.Context | None
    ) -> Region:
        if isinstance(value, Region):
            return value
        try:
            return Region.parse(value)
        except ValueError:
            self.fail(f"{value!r} is not provider/region, such as aws/eu-central-1", param, ctx)


class TargetType(click.ParamType[TargetName, str]):
    """`jurisdiction/hardware/platform`."""

    name = "jurisdiction/hardware/platform"

    def convert(
        self, value: str | TargetName, param: click.Parameter | None, ctx: click.Context | None
    ) -> TargetName:
        if isinstance(value, TargetName):
            return value
        try:
            return TargetName.parse(value)
        except ValueError:
            self.fail(f"{value!r} is not like de/x86-64-v3/kubernetes", param, ctx)


class SizeType(click.ParamType[int, str]):
    """A number of bytes as coreutils write it: `700M` (1024²), `4GB` (1000³)."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,15})([KMGT]?)(B?)", value.strip().upper())
        if not found or int(found[1]) == 0:
            self.fail(f"{value!r} is not a size, such as 700M or 4GB", param, ctx)
        base = 1000 if found[3] and found[2] else 1024
        return int(found[1]) * int(base ** " KMGT".index(found[2] or " "))


def profile_ids(kind: str) -> Callable[..., list[CompletionItem]]:
    """Shell completion over the built-in profiles; `kind` is jurisdictions or hardware."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from packager.resources import data_folder

        names = sorted(path.stem for path in (data_folder("targets") / kind).glob("*.yaml"))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete


def with_console(command: Command) -> Command:
    """Adds `--json` and `--quiet`, and hands the command its console."""

    @click.option("--json", "json_output", is_flag=True, help="Print the result as JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Tell no story on stderr, only errors.")
    @click.pass_obj
    def wrapped(console: Console, /, *, json_output: bool, quiet: bool, **arguments: Any) -> Any:
        console.json_output = json_output
        console.quiet = quiet
        return command(console, **arguments)

    return cast(Command, update_wrapper(wrapped, command))


targets_option = click.option(
    "--targets",
    "targets_folder",
    type=FILE,
    help="A folder of your own profiles; they may extend the built-in ones.",
)
lock_option = click.option(
    "--lock",
    "lock_file",
    type=FILE,
    help="The lock file.  [default: packager.lock beside the release file or model]",
)
measurements_option = click.option(
    "--measurements",
    type=FILE,
    help="Recorded measurements.  [default: packager.measurements.json beside the lock]",
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    help="Candidates at the same time; timing is alone.  [default: processors, at most 4]",
)
scheduler_option = click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    help="Optimize on the workers of this Dask cluster (extra: cluster).",
)
mirror_option = click.option(
    "--mirror",
    help="Debian mirror to fetch from.  [default: $PACKAGER_DEBIAN_MIRROR, else apt's own]",
)
wheels_option = click.option(
    "--wheels",
    type=FILE,
    help="A folder of your own wheels; they are pinned and checked like all others.",
)
target_option = click.option(
    "--target", type=TargetType(), help="One target, such as de/x86-64-v3/kubernetes."
)


class CounterType(click.ParamType[tuple[str, int], str]):
    """`COUNTER` for any release, or `NAME=COUNTER`."""

    name = "[name=]counter"

    def convert(
        self,
        value: str | tuple[str, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        name, _, counter = value.rpartition("=")
        if not (counter.isascii() and counter.isdecimal()):
            self.fail(f"{value!r} is not a counter such as 100004000009", param, ctx)
        return name or ANY_RELEASE, int(counter)


def trust_options(command: Command) -> Command:
    """Whom to believe: public keys, and what was signed about them since; as `trust`."""
    return _trust_options(command, required=True)


def optional_trust_options(command: Command) -> Command:
    """The same for a command that does not always read a release."""
    return _trust_options(command, required=False)


def _trust_options(command: Command, *, required: bool) -> Command:
    @click.option(
        "--key",
        "keys",
        required=required,
        multiple=True,
        type=FILE,
        help="A public key that you trust; may be given again. Nothing is believed without it.",
    )
    @click.option(
        "--require",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="How many of the keys must have signed.",
    )
    @click.option(
        "--rotation",
        "rotations",
        multiple=True,
        type=FILE,
        help="A key's statement that another key follows it (keys rotate).",
    )
    @click.option(
        "--revocations",
        multiple=True,
        type=FILE,
        help="A signed list of keys and releases to refuse (keys revoke).",
    )
    @click.option(
        "--minimum-revocations",
        type=click.IntRange(0),
        default=0,
        help="The number of the newest revocation list that was seen here.",
    )
    @click.option(
        "--minimum",
        multiple=True,
        type=CounterType(),
        help="Refuse releases with a smaller counter: the newest that was installed here.",
    )
    @click.option(
        "--allow-rollback",
        "permits",
        multiple=True,
        type=FILE,
        help="A signed permit to go below --minimum (keys allow-rollback).",
    )
    @wraps(command)
    def wrapped(
        *arguments: Any,
        keys: tuple[Path, ...],
        require: int,
        rotations: tuple[Path, ...],
        revocations: tuple[Path, ...],
        minimum_revocations: int,
        minimum: tuple[tuple[str, int], ...],
        permits: tuple[Path, ...],
        **others: Any,
    ) -> Any:
        trust = TrustFiles(
            keys, require, rotations, revocations, permits, dict(minimum), minimum_revocations
        )
        return command(*arguments, trust=trust, **others)

    return cast(Command, wrapped)
