"""Jinja2, held narrow: strict, sandboxed, and with every value encoded for where it stands.

In a YAML template `{{ value }}` becomes one YAML scalar: no text, whatever it contains, can end a
line, open a mapping or turn into a number. In Compose a `$` is doubled as well, so that no value is
taken for a variable. In JSON it becomes one JSON value, in a script one word of the shell. In a
unit file it is escaped for systemd, inside double quotes or outside. In prose, white space is
folded. A template of the user's that cannot be rendered is told with its file and line.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from packager.domain.target import DeploymentPlatform
from packager.errors import InputError

SUFFIX = ".j2"
_YAML_SUFFIXES = (".yaml", ".yml")
UNIT_SUFFIXES = (".container", ".socket", ".volume", ".network", ".image", ".service")
# YAML 1.1 and 1.2 readers agree that these are strings without quotes: they start with a letter.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9./@_-]*(:[A-Za-z0-9./@_-]+)*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


class Templates:
    """The templates of one platform, or of another folder of that name: the built-in ones, each
    overridden by the user's of its name.

    Raises InputError when the user's folder is none, or holds something that is no template.
    """

    def __init__(self, built_in: Path, platform: str, override: Path | None) -> None:
        self._platform = str(platform)
        self._folders = [built_in]
        if override is not None:
            _check_override(override)
            self._folders.insert(0, override)
        self.names = tuple(sorted({name for root in self._folders for name in self._listed(root)}))
        self._yaml = self._environment(self._yaml_scalar)
        self._json = self._environment(json_value)
        self._unit = self._environment(unit_text)
        self._shell = self._environment(shell_word)
        self._prose = self._environment(_folded)

    def render(self, name: str, variables: Mapping[str, object]) -> str:
        """The text of one template; `name` as in `names`, without `.j2`. Raises InputError."""
        environment = self._environment_of(name)
        path = f"{self._platform}/{name}{SUFFIX}"
        try:
            return environment.get_template(path).render(variables)
        except TemplateSyntaxError as error:
            where = f"{error.filename or path}: line {error.lineno}"
            raise _unusable(where, str(error.message)) from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            where = f"{self._file(name)}: line {_line(error, self._file(name))}"
            raise _unusable(where, f"{type(error).__name__}: {error}") from error

    def _environment_of(self, name: str) -> Environment:
        if is_yaml(name):
            return self._yaml
        if is_json(name):
            return self._json
        if name.endswith(".sh"):
            return self._shell
        return self._unit if is_unit(name) else self._prose

    def _listed(self, root: Path) -> list[str]:
        folder = root / self._platform
        return [
            path.relative_to(folder).as_posix().removesuffix(SUFFIX)
            for path in folder.rglob(f"*{SUFFIX}")
        ]

    def _file(self, name: str) -> Path:
        candidates = [root / self._platform / f"{name}{SUFFIX}" for root in self._folders]
        return next(path for path in candidates if path.is_file())

    def _environment(self, finalize: Callable[[object], str]) -> Environment:
        return ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([FileSystemLoader(folder) for folder in self._folders]),
            undefined=StrictUndefined,
            autoescape=False,  # no HTML: `finalize` encodes for YAML instead
            finalize=finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def _yaml_scalar(self, value: object) -> str:
        scalar = yaml_scalar(value)
        return scalar.replace("$", "$$") if self._compose else scalar

    @property
    def _compose(self) -> bool:
        return self._platform == DeploymentPlatform.COMPOSE.value


def is_yaml(name: str) -> bool:
    return name.endswith(_YAML_SUFFIXES)


def is_json(name: str) -> bool:
    return name.endswith(".json")


def json_value(value: object) -> str:
    """One value as JSON. Raises TypeError for what has no JSON form."""
    if isinstance(value, Undefined):
        return str(value)  # StrictUndefined raises here, naming what is missing
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def shell_word(value: object) -> str:
    """One value as one word of a shell. Raises TypeError for what is no scalar."""
    match value:
        case Undefined() | bool() | int():
            return yaml_scalar(value)
        case str():
            return shlex.quote(value)
        case _:
            raise TypeError(f"a {type(value).__name__} is no scalar; loop over it")


def is_unit(name: str) -> bool:
    """Whether systemd or Quadlet reads the file."""
    return name.endswith(UNIT_SUFFIXES)


def unit_text(value: object) -> str:
    """One value in a unit file (systemd.syntax(7), systemd.unit(5), "Specifiers").

    No line ends, no quote closes, and neither `%` nor `$` is expanded, since both are doubled.
    Raises TypeError for what is no scalar.
    """
    match value:
        case Undefined() | bool() | int():
            return yaml_scalar(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
            return "".join(
                character if character.isprintable() else " "
                for character in escaped.replace("%", "%%").replace("$", "$$")
            )
        case _:
            raise TypeError(f"a {type(value).__name__} is no scalar; loop over it")


def yaml_scalar(value: object) -> str:
    """One value as one YAML scalar on one line. Raises TypeError for what is no scalar."""
    match value:
        case Undefined():
            return str(value)  # StrictUndefined raises here, naming what is missing
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        case str():
            quoted = yaml.safe_dump(value, default_style='"', width=float("inf"))
            return quoted.removesuffix("\n")
        case _:
            raise TypeError(f"a {type(value).__name__} is no scalar; loop over it")


def _folded(value: object) -> str:
    if value is None:
        raise TypeError("None is no text; test it with an if")
    return " ".join(str(value).split())


def _check_override(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(
            "the folder with templates does not exist",
            where=str(folder),
            expected="a folder with kubernetes/, helm/, compose/ or quadlet/, holding files such "
            f"as kubernetes/base/deployment.yaml{SUFFIX}",
            next_step="check the path given with --templates",
        )
    known = {platform.value for platform in DeploymentPlatform}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir() or entry.name not in known:
            raise InputError(
                "the folder with templates holds something that is never read",
                where=str(entry),
                expected=f"only the folders {', '.join(sorted(known))}",
                next_step="move it away, or rename it",
            )
        _check_files(entry)


def _check_files(folder: Path) -> None:
    for file in sorted(folder.rglob("*")):
        if file.is_dir() or file.name.startswith("."):
            continue
        if file.suffix != SUFFIX:
            raise InputError(
                "the folder with templates holds something that is never read",
                where=str(file),
                expected=f"files that end in {SUFFIX}",
                next_step=f"rename it to {file.name}{SUFFIX}, or move it away",
            )


def _line(error: BaseException, file: Path) -> str:
    """The last line of the template that the error passed through."""
    line = "?"
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = str(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _unusable(where: str, got: str) -> InputError:
    return InputError(
        "a template cannot be rendered",
        where=where,
        got=got,
        next_step="packager/render/context.py lists every name that a template may use",
    )
