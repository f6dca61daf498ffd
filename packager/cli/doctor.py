"""`packager doctor`: is everything here that the commands need, and what to do when not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata

import click

from packager import __version__
from packager.cli.console import Console, table
from packager.cli.options import with_console
from packager.errors import PackagerError


@click.command()
@with_console
def doctor(console: Console) -> int:
    """Check this installation and this machine. Exit 1 when building cannot work.

    \b
    Example:
      packager doctor --json
    """
    rows = []
    for name, needed_for, examine in _EXAMINATIONS:
        try:
            rows.append([name, "ok", needed_for, examine()])
        except PackagerError as error:
            finding = error.findings[0]
            detail = finding.what + (f"; {finding.next_step}" if finding.next_step else "")
            rows.append([name, "missing", needed_for, detail])
    head = ["part", "state", "needed for", "found"]
    console.result(table(head, rows), [dict(zip(head, row, strict=True)) for row in rows])
    return int(any(row[1] != "ok" and row[2] in ("everything", "build") for row in rows))


def _python() -> str:
    return f"packager {__version__}, Python {platform.python_version()} on {platform.machine()}"


def _onnxruntime() -> str:
    providers = metadata.packages_distributions().get("onnxruntime", [])
    names = sorted({name.lower() for name in providers})
    if len(names) != 1:
        raise PackagerError(
            f"{len(names)} distributions provide onnxruntime: {', '.join(names) or 'none'}",
            next_step="keep exactly one: pip uninstall -y onnxruntime onnxruntime-gpu, "
            "then install one of the two",
        )
    return f"{names[0]} {metadata.version(names[0])}"


def _telemetry() -> str:
    if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
        raise PackagerError("ONNX Runtime's telemetry is not switched off in this process")
    return "ONNX Runtime's telemetry is off in this process"


def _mirror() -> str:
    from packager.assemble.mirror import find_mirror

    find_mirror(None)
    return "a Debian mirror is configured"


def _signature_check() -> str:
    if not shutil.which("gpgv"):
        raise PackagerError(
            "gpgv is not here, so Debian's signatures cannot be checked",
            next_step="apt-get install gpgv debian-archive-keyring",
        )
    return "gpgv checks Debian's signatures"


def _pip() -> str:
    if importlib.util.find_spec("pip") is None:
        raise PackagerError("pip is not installed", next_step=f"{sys.executable} -m ensurepip")
    return f"pip {metadata.version('pip')}"


def _docker() -> str:
    from packager.oci.docker_engine import NoEngine, engine

    found = engine()
    if isinstance(found, NoEngine):
        raise PackagerError(found.reason)
    found.close()
    return f"Docker {found.version} on {found.architecture}"


def _local_process() -> str:
    missing = [name for name in ("httptools", "orjson") if importlib.util.find_spec(name) is None]
    if missing:
        raise PackagerError(
            f"{' and '.join(missing)} not installed",
            next_step="pip install '.[local]' in packager's source",
        )
    return "the runtime can start as a local process"


_EXAMINATIONS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("packager", "everything", _python),
    ("onnxruntime", "build", _onnxruntime),
    ("telemetry", "everything", _telemetry),
    ("pip", "lock", _pip),
    ("mirror", "lock", _mirror),
    ("gpgv", "lock", _signature_check),
    ("docker", "run in Docker", _docker),
    ("local process", "run without Docker", _local_process),
)
