"""The `packager` command, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from packager import __version__
from packager.cli.bench import bench
from packager.cli.build import build, check, lock, render
from packager.cli.bundle import bundle
from packager.cli.ci import ci
from packager.cli.completion import completion
from packager.cli.console import Console
from packager.cli.decrypt import decrypt
from packager.cli.delta import delta
from packager.cli.diff import diff
from packager.cli.doctor import doctor
from packager.cli.export import export
from packager.cli.fleet import fleet
from packager.cli.keys import keys
from packager.cli.optimize import optimize
from packager.cli.plan import plan
from packager.cli.registry import pull
from packager.cli.run import load, push, run
from packager.cli.site import history, install, rollback, site, status, uninstall
from packager.cli.targets import targets
from packager.cli.verify import digest, inspect, verify
from packager.errors import PackagerError

INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done · 1 failed · 2 usage · 3 refused by policy · "
    "4 verification failed · 5 something outside unavailable.",
)
@click.version_option(__version__, prog_name="packager")
def cli() -> None:
    """Package a model for a jurisdiction and a piece of hardware: optimized within a quality
    budget, in signed and reproducible OCI images, with manifests and evidence.

    \b
    A first run:
      packager keys generate -o site.pem
      packager build model.onnx -j de -w x86-64-v3 -p kubernetes \\
          --region aws/eu-central-1 --license Apache-2.0 --key site.pem -o release
      packager verify release --key site.pub
      packager run release --key site.pub
    """


for command in (
    build,
    export,
    check,
    optimize,
    lock,
    verify,
    plan,
    bundle,
    delta,
    diff,
    ci,
    fleet,
    run,
    bench,
    push,
    pull,
    load,
    decrypt,
    install,
    rollback,
    status,
    history,
    uninstall,
    site,
    render,
    inspect,
    digest,
    keys,
    targets,
    doctor,
    completion,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. No exception leaves this function."""
    console = Console()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        answer = cli.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="packager",
            standalone_mode=False,
            obj=console,
        )
        return answer if isinstance(answer, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except SystemExit as leave:  # Click's own way out of shell completion
        return leave.code if isinstance(leave.code, int) else 1
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        console.interrupted()
        return INTERRUPTED
    except PackagerError as error:
        console.error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output left (`| head`); Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last resort: a defect of ours, told without a traceback
        if os.environ.get("PACKAGER_TRACEBACK"):
            traceback.print_exc()
        console.error(
            PackagerError(
                f"unexpected {type(error).__name__}: {error}",
                where="packager itself",
                next_step="this is a defect; run again with PACKAGER_TRACEBACK=1 and report it",
            )
        )
        return 1


def _terminate(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C, so that scratch folders are removed on the way out."""
    raise KeyboardInterrupt
