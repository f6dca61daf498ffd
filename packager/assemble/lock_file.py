"""Reads and writes `packager.lock`: readable canonical JSON in one order.

A lock is input like any other: bounded in size, parsed once, and everything that is wrong in it is
told at once with its place. File names are checked here, because they become paths and addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from packager.canonical import dumps_readable
from packager.digest import Digest
from packager.domain.lock import (
    Lock,
    LockedBase,
    LockedBaseImage,
    LockedEnvironment,
    LockedPackage,
    LockedWheel,
)
from packager.errors import Finding, LockError

API_VERSION = "packager.lock/v1"
_SIZE_LIMIT = 8 << 20
_FINDINGS_LIMIT = 20
_NEXT_STEP = "make it anew with `packager lock`"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:_!-]{0,199}")
_KEY = re.compile(r"[a-z0-9]+/[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+(\[[a-z]+(,[a-z]+)*\])?")
_POOL_PATH = re.compile(
    r"pool/(?:[A-Za-z0-9][A-Za-z0-9.+~:%_-]*/)+[A-Za-z0-9][A-Za-z0-9.+~:%_-]*\.deb"
)
_WHEEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_T = TypeVar("_T")
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


def lock_bytes(lock: Lock) -> bytes:
    """The file's bytes. `read_lock` of them gives an equal value."""
    return dumps_readable(
        {
            "apiVersion": API_VERSION,
            "inputs": str(lock.inputs),
            "suite": lock.suite,
            "environments": [_environment_dict(entry) for entry in lock.environments],
            **({"base": _base_dict(lock.base)} if lock.base else {}),
        }
    )


def _base_dict(base: LockedBase) -> dict[str, object]:
    return {
        "name": base.name,
        "digest": str(base.digest),
        "images": [
            {"architecture": image.architecture, "manifest": str(image.manifest)}
            for image in sorted(base.images)
        ],
    }


def _environment_dict(environment: LockedEnvironment) -> dict[str, object]:
    return {
        "key": environment.key,
        "architecture": environment.architecture,
        "packages": [
            _entry_dict(package) | {"architecture": package.architecture}
            for package in sorted(environment.packages)
        ],
        "wheels": [_entry_dict(wheel) for wheel in sorted(environment.wheels)],
    }


def _entry_dict(entry: LockedPackage | LockedWheel) -> dict[str, object]:
    described: dict[str, object] = {
        "name": entry.name,
        "version": entry.version,
        "filename": entry.filename,
        "digest": str(entry.digest),
        "size": entry.size,
    }
    return described | ({"license": entry.license} if entry.license else {})


def read_lock(path: Path) -> Lock:
    """Parse the lock at `path`. Raises LockError that tells everything wrong with its place."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise LockError(
            "the lock cannot be read",
            where=str(path),
            got=error.strerror or str(error),
            next_step="make one with `packager lock`",
        ) from error
    if len(data) > _SIZE_LIMIT:
        raise LockError(
            "the lock is too large",
            where=str(path),
            expected=f"at most {_SIZE_LIMIT} bytes",
            next_step=_NEXT_STEP,
        )
    return parse_lock(data, str(path))


def parse_lock(data: bytes, where: str) -> Lock:
    """Parse a lock's bytes; `where` names it in messages."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise LockError(
            "the lock is not JSON", where=where, got=str(error)[:200], next_step=_NEXT_STEP
        ) from error
    reader = _Reader(where)
    lock = reader.lock(value)
    if reader.findings:
        raise LockError.of(reader.findings[:_FINDINGS_LIMIT])
    return lock


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


class _Reader:
    """Reads values out of JSON; what does not fit becomes a finding and a harmless stand-in."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.findings: list[Finding] = []

    def lock(self, value: object) -> Lock:
        required = {"apiVersion", "inputs", "suite", "environments"}
        fields = self._object(value, "", required, optional={"base"})
        if fields.get("apiVersion") != API_VERSION:
            self._wrong("apiVersion", API_VERSION, fields.get("apiVersion"))
        environments = self._list(fields, "environments", "environments", self._environment)
        self._unique([entry.key for entry in environments], "environments", "key")
        return Lock(
            inputs=self._digest(fields.get("inputs"), "inputs"),
            suite=self._text(fields.get("suite"), "suite", _WORD),
            environments=environments,
            base=self._base(fields["base"]) if "base" in fields else None,
        )

    def _base(self, value: object) -> LockedBase:
        fields = self._object(value, "base", {"name", "digest", "images"})
        images = self._list(fields, "images", "base.images", self._base_image)
        self._unique([one.architecture for one in images], "base.images", "architecture")
        return LockedBase(
            name=self._text(fields.get("name"), "base.name", _LINE),
            digest=self._digest(fields.get("digest"), "base.digest"),
            images=images,
        )

    def _base_image(self, value: object, at: str) -> LockedBaseImage:
        fields = self._object(value, at, {"architecture", "manifest"})
        return LockedBaseImage(
            architecture=self._text(fields.get("architecture"), f"{at}.architecture", _WORD),
            manifest=self._digest(fields.get("manifest"), f"{at}.manifest"),
        )

    def _environment(self, value: object, at: str) -> LockedEnvironment:
        fields = self._object(value, at, {"key", "architecture", "packages", "wheels"})
        packages = self._list(fields, "packages", f"{at}.packages", self._package)
        wheels = self._list(fields, "wheels", f"{at}.wheels", self._wheel)
        self._unique([entry.name for entry in packages], f"{at}.packages", "name")
        self._unique([entry.name for entry in wheels], f"{at}.wheels", "name")
        return LockedEnvironment(
            key=self._text(fields.get("key"), f"{at}.key", _KEY),
            architecture=self._text(fields.get("architecture"), f"{at}.architecture", _WORD),
            packages=packages,
            wheels=wheels,
        )

    def _package(self, value: object, at: str) -> LockedPackage:
        fields = self._object(value, at, {*_ENTRY, "architecture"}, optional={"license"})
        architecture = self._text(fields.get("architecture"), f"{at}.architecture", _WORD)
        entry = self._entry(fields, at, _POOL_PATH)
        return LockedPackage(architecture=architecture, **entry)

    def _wheel(self, value: object, at: str) -> LockedWheel:
        fields = self._object(value, at, _ENTRY, optional={"license"})
        return LockedWheel(**self._entry(fields, at, _WHEEL_NAME))

    def _entry(self, fields: dict[str, Any], at: str, filename: re.Pattern[str]) -> dict[str, Any]:
        size = fields.get("size")
        if type(size) is not int or not 0 < size < 1 << 40:
            self._wrong(f"{at}.size", "a number of bytes", size)
        license_ = fields.get("license")
        return {
            "name": self._text(fields.get("name"), f"{at}.name", _WORD),
            "version": self._text(fields.get("version"), f"{at}.version", _WORD),
            "filename": self._text(fields.get("filename"), f"{at}.filename", filename),
            "digest": self._digest(fields.get("digest"), f"{at}.digest"),
            "size": size,
            "license": license_ and self._text(license_, f"{at}.license", _LINE),
        }

    def _object(
        self, value: object, at: str, required: set[str], optional: set[str] | None = None
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(at or "the file", "an object", value)
            return {}
        for name in sorted(required - value.keys()):
            self._wrong(f"{at}.{name}".lstrip("."), "a value", None)
        for name in sorted(value.keys() - required - (optional or set())):
            self._wrong(f"{at}.{name}".lstrip(".")[:200], "no such key", value[name])
        return value

    def _list(
        self, fields: dict[str, Any], name: str, at: str, read: Callable[[object, str], _T]
    ) -> tuple[_T, ...]:
        value = fields.get(name)
        if not isinstance(value, list):
            self._wrong(at, "a list", value)
            return ()
        return tuple(read(item, f"{at}[{number}]") for number, item in enumerate(value))

    def _text(self, value: object, at: str, pattern: re.Pattern[str]) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        self._wrong(at, f"text of the form {pattern.pattern}", value)
        return "?"

    def _digest(self, value: object, at: str) -> Digest:
        try:
            return Digest.parse(value if isinstance(value, str) else "")
        except ValueError:
            self._wrong(at, "sha256: and 64 hexadecimal digits", value)
            return Digest("0" * 64)

    def _unique(self, names: list[str], at: str, field: str) -> None:
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._wrong(at, f"every {field} once", name)

    def _wrong(self, at: str, expected: str, got: object) -> None:
        self.findings.append(
            Finding(
                "the lock is malformed",
                where=f"{self.where}: {at}",
                expected=expected,
                got="nothing" if got is None else repr(got)[:120],
                next_step=_NEXT_STEP,
            )
        )


_ENTRY = {"name", "version", "filename", "digest", "size"}
