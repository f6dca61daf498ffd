"""Runs a release's own `install.sh` and understands what it tells.

The program tells its story on stderr as `@kind<TAB>field…` when PACKAGER_FRAMES=1: `step`, `note`,
and `finding` with its code, what, where, expected, got and next step. Its results are on stdout.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packager.errors import (
    CallError,
    Finding,
    PackagerError,
    PolicyRefusal,
    UnavailableError,
    VerificationError,
)
from packager.progress import Progress
from packager.site.history import read_history

# What each exit code of the program means; 2 is a profile or an argument that cannot be used.
_KINDS: dict[int, type[PackagerError]] = {
    1: PackagerError,
    2: CallError,
    3: PolicyRefusal,
    4: VerificationError,
    5: UnavailableError,
}
# What an engine's command line needs of its surroundings; nothing else of ours is handed on.
_INHERITED = (
    *("PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONFIG"),
    *("CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "DBUS_SESSION_BUS_ADDRESS"),
    *("CONTAINERD_ADDRESS", "CONTAINERD_SNAPSHOTTER", "XDG_CONFIG_HOME"),
    *("KUBECONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "PACKAGER_PROC"),
)


def drive(
    script: Path, arguments: Sequence[str | Path], progress: Progress, *, fails_with: int = 0
) -> str:
    """Run `install.sh` and return what it printed.

    `fails_with` is an exit code that is an answer, not a failure (`status` says 1 when nothing is
    ready). Raises the error class of its exit code, with its findings. An interruption is handed on
    to the program, which puts in order what it began.
    """
    process = subprocess.Popen(
        ["sh", str(script), *map(str, arguments)],
        env={name: os.environ[name] for name in _INHERITED if name in os.environ}
        | {"PACKAGER_FRAMES": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout  # noqa: S101 - it is a pipe
    assert process.stderr  # noqa: S101
    findings: list[Finding] = []
    rest: list[str] = []
    with process, contextlib.ExitStack() as stack:
        stack.callback(_end, process)
        for line in process.stderr:
            _understand(line.rstrip("\n"), findings, rest, progress)
        out = process.stdout.read()
        code = process.wait()
    if code in (0, fails_with) and not findings:
        return out
    kind = _KINDS.get(code, PackagerError)
    if not findings:
        raise kind(
            "the installer ended without saying why",
            where=str(script),
            got="; ".join(rest[-3:])[:400] or f"exit status {code}",
        )
    raise kind.of(findings)


def _understand(line: str, findings: list[Finding], rest: list[str], progress: Progress) -> None:
    match line.split("\t"):
        case ["@step", title]:
            progress.step(title)
        case ["@note", text]:
            progress.note(text)
        case ["@finding", _code, what, where, expected, got, next_step, *_]:
            findings.append(
                Finding(what, where or None, expected or None, got or None, next_step or None)
            )
        case _:
            rest.append(line)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()


def outcome(home: Path, told: str, dry_run: bool) -> dict[str, Any]:
    """What a run came to: its words, and the record that it wrote, if it wrote one."""
    message = told.strip()
    if dry_run or "already" in message:
        return {"message": message, "record": None}
    last = read_history(home)[-1]
    return {"message": message, "record": last.document}
