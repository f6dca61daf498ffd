"""Every declared file is compared with its size and SHA-256 before anything reads it.

The folder of a model is a closed world: a file that nobody declared is refused, because ONNX
Runtime would follow a graph's external data to it. What is small enough to be held (the graph and
the golden file) is used from the very bytes that were hashed, so that it cannot change in between.
"""

from __future__ import annotations

import hashlib
import os
import stat

from .declared_files import DeclaredFile, DeclaredModel
from .errors import ExitCode, Refusal

Folder = str | os.PathLike[str]


def verified(folder: Folder, model: DeclaredModel, *, hold_graph: bool = True) -> dict[str, bytes]:
    """Check all files of `model`; returns the bytes of its golden file, and of its graph unless
    that is too large to be held twice, by path.

    Raises Refusal for a file that is missing, is no regular file, differs, or is not declared.
    """
    _refuse_undeclared(folder, model)
    held = {model.golden.path} if model.golden else set()
    if hold_graph:
        held |= {model.path}
    contents: dict[str, bytes] = {}
    for declared in model.files:
        data = _checked(os.path.join(folder, declared.path), declared, keep=declared.path in held)
        if data is not None:
            contents[declared.path] = data
    return contents


def read(folder: Folder, model: DeclaredModel, path: str) -> bytes:
    """The bytes of a declared file, hashed as they are read; raises Refusal."""
    declared = next(file for file in model.files if file.path == path)
    return _checked(os.path.join(folder, path), declared, keep=True) or b""


def _refuse_undeclared(folder: Folder, model: DeclaredModel) -> None:
    declared = {file.path for file in model.files}
    own = os.path.dirname(os.path.join(folder, model.path))
    for base, folders, files in os.walk(own):  # a link to a folder is named and not followed
        for found in sorted(os.path.join(base, name) for name in folders + files):
            path = os.path.relpath(found, folder)
            if path not in declared and (os.path.islink(found) or not os.path.isdir(found)):
                raise _refusal(
                    f"{path}: not declared in server.json, but lies in the folder of {model}"
                )


def _checked(path: str, declared: DeclaredFile, *, keep: bool) -> bytes | None:
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise _refusal(f"{declared.path}: not a regular file")
        with open(path, "rb") as stream:
            if keep:
                data = stream.read(declared.size + 1)
                size, digest = len(data), hashlib.sha256(data).hexdigest()
            else:
                data = None
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.tell()
    except OSError as error:
        raise _refusal(f"{declared.path}: cannot be read: {error.strerror}") from error
    if size != declared.size:
        # A held file is read no further than one byte past its declared size.
        actual = os.stat(path).st_size
        raise _refusal(f"{declared.path}: size is {actual}, but {declared.size} was declared")
    if digest != declared.sha256:
        raise _refusal(f"{declared.path}: sha256 is {digest}, but {declared.sha256} was declared")
    return data


def _refusal(message: str) -> Refusal:
    return Refusal(ExitCode.DATA, message)
