"""Finds the credentials for a registry where Docker keeps them.

`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`: a credential helper for the registry
(`credHelpers`), one for all (`credsStore`), or the entry itself (`auths`), in Docker's own order.
Nothing in here is ever logged or shown; a `Credentials` does not print itself.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packager.errors import InputError, UnavailableError

_DOCKER_HUB = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password, or an identity token to be exchanged for an access token."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def find_credentials(host: str, environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for a registry host, None when there are none.

    Raises InputError when the configuration cannot be read, UnavailableError when the helper that
    it names fails.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    file = folder / "config.json"
    config = _read(file)
    helper = _object(config, "credHelpers").get(host) or config.get("credsStore")
    if isinstance(helper, str) and helper:
        return _from_helper(helper, host, file)
    auths = _object(config, "auths")
    for name in _names(host):
        entry = auths.get(name)
        if isinstance(entry, dict):
            return _from_entry(entry, f"{file}: auths.{name}")
    return None


def _names(host: str) -> list[str]:
    """The keys under which tools write a registry."""
    names = [host, f"https://{host}", f"https://{host}/", f"https://{host}/v2/", f"http://{host}"]
    if host in ("docker.io", "registry-1.docker.io", "index.docker.io"):
        names += [_DOCKER_HUB, "docker.io", "index.docker.io"]
    return names


def _read(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
        if not isinstance(config, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            "Docker's configuration cannot be read",
            where=str(file),
            expected="a JSON object",
            got=str(error)[:200],
            next_step="mend it, or name another folder in DOCKER_CONFIG",
        ) from error
    return config


def _object(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _from_entry(entry: Mapping[str, Any], where: str) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    if "auth" in entry:
        try:
            decoded = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except ValueError as error:
            raise InputError(
                "the stored credentials cannot be read",
                where=where,
                expected="base64 of user:password",
                next_step="log in again: docker login",
            ) from error
        user, _, password = decoded.rstrip("\0").partition(":")
        return Credentials(user, password)
    if "username" in entry:
        return Credentials(str(entry["username"]), str(entry.get("password", "")))
    return None


def _from_helper(helper: str, host: str, file: Path) -> Credentials | None:
    if not _HELPER.fullmatch(helper):
        raise InputError("not the name of a credential helper", where=str(file), got=repr(helper))
    program = f"docker-credential-{helper}"
    asked = _DOCKER_HUB if host in ("docker.io", "registry-1.docker.io") else host
    try:
        answer = subprocess.run(
            [program, "get"],
            input=asked.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
        if answer.returncode:
            if b"not found" in answer.stdout + answer.stderr:
                return None
            raise OSError(f"exit status {answer.returncode}")
        told = json.loads(answer.stdout)
        user, secret = str(told["Username"]), str(told["Secret"])
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        # Neither what the helper wrote nor the error's own text: both could hold the secret.
        got = str(error) if isinstance(error, OSError) else type(error).__name__
        raise UnavailableError(
            "the credential helper does not answer",
            where=program,
            got=got,
            next_step=f"try it: echo {asked} | {program} get",
        ) from None
    return Credentials(identity_token=secret) if user == "<token>" else Credentials(user, secret)
