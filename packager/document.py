"""Reads what people write in YAML, and tells them all that is wrong with it at once.

A file becomes a tree of `packager.section.Section`s that know their file, key path and line. How
little of YAML is understood stands in `packager.narrow_yaml`.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from packager.errors import InputError
from packager.narrow_yaml import compose
from packager.section import Notes, Section, describe, section_of

MAX_BYTES = 1 << 20


def read_document(file: Path) -> Section:
    """The root mapping of a YAML file. Raises InputError when there is no such thing in it."""
    return parse_document(_read(file), file)


def parse_document(data: bytes, file: Path) -> Section:
    """The root mapping of YAML bytes; `file` is for messages only."""
    try:
        node = compose(data.decode())
    except UnicodeDecodeError as error:
        raise InputError(
            "the file is not UTF-8 text", where=str(file), got=f"byte {error.start}"
        ) from error
    except yaml.YAMLError as error:
        raise _syntax_error(error, file) from error
    except RecursionError as error:
        raise InputError("the YAML is nested too deeply", where=str(file)) from error
    if not isinstance(node, yaml.MappingNode):
        raise InputError(
            "the document is not a mapping",
            where=str(file),
            expected="`key: value` lines",
            got="nothing" if node is None else describe(node),
        )
    return section_of(file, "", node, Notes())


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            "the file cannot be read", where=str(file), got=error.strerror or str(error)
        ) from error
    if len(data) > MAX_BYTES:
        raise InputError(
            "the file is too large", where=str(file), expected=f"at most {MAX_BYTES} bytes"
        )
    return data


def _syntax_error(error: yaml.YAMLError, file: Path) -> InputError:
    mark = getattr(error, "problem_mark", None)
    where = f"{file}:{mark.line + 1}: column {mark.column + 1}" if mark else str(file)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return InputError("the YAML cannot be read", where=where, got=problem)
