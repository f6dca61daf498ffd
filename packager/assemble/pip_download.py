"""Runs pip's own resolver and download for a platform that is not this machine's.

pip knows the user's indexes, proxies, certificates and credentials, so neither is written down
here. `pip download` is used and not `pip install --dry-run`: the latter compares Requires-Python
with the Python that runs pip, not with the one that is asked for.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packager.assemble.recipe import GLIBC_MINOR, PYTHON, WHEEL_MACHINE
from packager.errors import InputError, LockError, PackagerError, UnavailableError

_OLDEST_GLIBC_MINOR = 5  # manylinux1
_SECONDS = 3600
_MISMATCH = re.compile(r"Expected sha256 ([0-9a-f]{64})\s+Got\s+([0-9a-f]{64})")
_TROUBLE = re.compile(
    r"connection broken|Max retries|timed out|Temporary failure|NewConnectionError|HTTPError|"
    r"HTTP error|SSLError|ProxyError|Could not fetch URL|IncompleteRead|ReadTimeout|No space left",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"//[^/\s@]*@")


def download_wheels(
    requirements: Sequence[str], architecture: str, folder: Path, *, dependencies: bool
) -> None:
    """Fill `folder` with the wheels that meet `requirements` on Debian 13 of that architecture.

    `requirements` may carry `--hash=sha256:…`; pip then takes no other file. Raises LockError when
    no wheel fits or a hash differs, UnavailableError when the index does not answer.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(wanted)]
    command += [*_platform_options(architecture), *([] if dependencies else ["--no-deps"])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"pip did not finish within {_SECONDS} s",
            where=", ".join(requirements)[:300],
            next_step="try again",
        ) from error
    finally:
        wanted.unlink(missing_ok=True)
    if done.returncode:
        story = (
            f"{done.stdout.decode('utf-8', 'replace')}\n{done.stderr.decode('utf-8', 'replace')}"
        )
        raise _told(story, ", ".join(line.split(" --hash=")[0] for line in requirements))


def platforms(architecture: str) -> tuple[str, ...]:
    """The platform tags of wheels that load on Debian 13's C library, newest first."""
    machine = WHEEL_MACHINE.get(architecture)
    if machine is None:
        raise InputError(
            f"no images are assembled for the architecture {architecture!r}",
            expected=" or ".join(sorted(WHEEL_MACHINE)),
        )
    minors = range(GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)
    return tuple(f"manylinux_2_{minor}_{machine}" for minor in minors)


def _platform_options(architecture: str) -> list[str]:
    """The tags of wheels that load on Debian 13's Python and C library."""
    options = ["--only-binary=:all:", "--implementation=cp"]
    options += [f"--python-version={PYTHON}", f"--abi=cp{PYTHON.replace('.', '')}"]
    return [*options, *(f"--platform={name}" for name in platforms(architecture))]


def _told(story: str, what: str) -> PackagerError:
    """pip's story as one of our errors."""
    lines = [line.strip() for line in story.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-3:]
    got = _CREDENTIALS.sub("//", " ".join(errors))[:600]
    if mismatch := _MISMATCH.search(story):
        return LockError(
            "a wheel is not the one that was locked",
            where=what,
            expected=f"sha256:{mismatch[1]}",
            got=f"sha256:{mismatch[2]}",
            next_step="check the Python index that pip uses; do not upgrade the lock before",
        )
    if _TROUBLE.search(story) or "No matching distribution" not in story:
        return UnavailableError(
            "pip could not get the wheels",
            where=what,
            got=got,
            next_step="try again; pip's own settings name the index, proxy and certificates",
        )
    return LockError(
        "the Python index has no wheel that fits",
        where=what,
        expected=f"a binary wheel for CPython {PYTHON} and glibc 2.{GLIBC_MINOR} or older",
        got=got,
        next_step="run `packager lock --upgrade`, or choose another version in the profile",
    )
