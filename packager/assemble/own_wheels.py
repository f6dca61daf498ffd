"""Wheels that the user brings in a folder: taken instead of the index's, pinned like all others.

For hardware whose wheel no index has: an ONNX Runtime built for another GPU, a vendor's provider.
A wheel counts when its tags fit the image's Python, C library and architecture.
"""

from __future__ import annotations

from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from packager.assemble.pip_download import platforms
from packager.assemble.recipe import PYTHON
from packager.errors import Finding, InputError


def own_wheels(folder: Path | None, architecture: str) -> dict[str, Path]:
    """Name → file, for wheels in `folder` that load in an image of that architecture.

    Raises InputError when the folder cannot be read or brings a wheel twice.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise InputError(
            "the folder of your own wheels does not exist", where="--wheels", got=str(folder)
        )
    found: dict[str, Path] = {}
    findings = []
    for path in sorted(folder.glob("*.whl")):
        try:
            name, _version, _build, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename as error:
            findings.append(Finding("not the name of a wheel", str(path), got=str(error)[:200]))
            continue
        if not any(_fits(str(tag), architecture) for tag in tags):
            continue
        if name in found:
            findings.append(
                Finding(
                    f"two wheels of {name} fit {architecture}",
                    where=str(folder),
                    got=f"{found[name].name}, {path.name}",
                    next_step="keep the one that you mean",
                )
            )
        found[name] = path
    if findings:
        raise InputError.of(findings)
    return found


def _fits(tag: str, architecture: str) -> bool:
    interpreter, abi, platform = tag.split("-")
    short = PYTHON.replace(".", "")
    if abi == "abi3" and interpreter.startswith("cp3"):
        right = int(interpreter.removeprefix("cp3") or 0) <= int(short[1:])
    else:
        right = (interpreter, abi) in ((f"cp{short}", f"cp{short}"), ("py3", "none"))
    return right and platform in ("any", *platforms(architecture))
