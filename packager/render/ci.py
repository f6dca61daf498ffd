"""A release pipeline for a forge's own CI engine: check, build, then every target side by side.

The pipeline is the user's from then on. It runs the same commands as a person, stops on their exit
codes (3 refused by policy, 4 not as signed), and leaves keys where the forge keeps secrets.
"""

from __future__ import annotations

import re
from enum import StrEnum

from packager.domain.release import ReleaseRequest
from packager.errors import Finding, InputError
from packager.resources import data_folder

PYTHON_VERSION = "3.13"
# What can stand in a shell's line as it is.
_WORD = re.compile(r"[A-Za-z0-9._/][A-Za-z0-9._/-]*")
_RUNNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INSTALL = re.compile(r"[A-Za-z0-9._/=-]+( [A-Za-z0-9._/=-]+)*")
# No name to be looked up in an index: whoever owns the name there would get the signing key.
PINNED = "--require-hashes -r packager-requirements.txt"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")


class Provider(StrEnum):
    """Whose CI engine runs the pipeline."""

    GITHUB = "github"
    GITLAB = "gitlab"

    @property
    def place(self) -> str:
        """Where the provider looks for the file."""
        return {
            Provider.GITHUB: ".github/workflows/release.yml",
            Provider.GITLAB: ".gitlab-ci.yml",
        }[self]


def render_ci(
    request: ReleaseRequest,
    provider: Provider,
    file: str,
    public_key: str,
    runner: str | None,
    install: str = PINNED,
) -> bytes:
    """The pipeline for the release that `file` describes; both paths are within the repository.

    `runner` is a label (GitHub) or tag (GitLab) of runners of one's own, `install` what pip is
    told to install. Raises InputError with all names that cannot stand in a shell's line.
    """
    # Only here: the command line knows the providers, and starts without a template engine.
    from packager.render.templating import Templates

    hosts = sorted({registry.partition("/")[0] for registry in request.registries.values()})
    _refuse_odd(file, public_key, runner, install, hosts)
    templates = Templates(data_folder("templates"), "ci", None)
    text = templates.render(
        f"{provider.value}.yaml",
        {
            "release": request.name,
            "file": file,
            "public_key": public_key,
            "public_key_word": public_key,
            "install": install,
            "runner": runner or ("ubuntu-24.04" if provider is Provider.GITHUB else ""),
            "python_version": PYTHON_VERSION,
            "targets": [str(target.name) for target in request.targets],
            "registries": hosts,
        },
    )
    return text.encode()


def _refuse_odd(
    file: str, public_key: str, runner: str | None, install: str, hosts: list[str]
) -> None:
    asked = [
        ("the release file", file, _WORD),
        ("the public key", public_key, _WORD),
        ("what pip is told", install, _INSTALL),
        *([("the runner", runner, _RUNNER)] if runner else []),
        *(("the registry", host, _HOST) for host in hosts),
    ]
    findings = [
        Finding(
            f"{what} cannot stand in a line of a pipeline",
            got=repr(text),
            expected="letters, digits, '.', '_', '/' and '-'",
            next_step="name it relative to the repository, without spaces",
        )
        for what, text, pattern in asked
        if not pattern.fullmatch(text) or ".." in text.split("/")
    ]
    if findings:
        raise InputError.of(findings)
