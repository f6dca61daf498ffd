"""Where things lie in an image: one check for every path that comes from an archive.

Paths in packages and wheels are hostile until they went through `plain_path`. Debian 13 has /usr
merged: /bin, /lib, /lib64 and /sbin are links into /usr, so what a package puts under them is moved
there, or the link would be replaced by a folder and the dynamic linker be gone.
"""

from __future__ import annotations

from packager.errors import LockError

MERGED = ("bin", "lib", "lib64", "sbin")


def plain_path(path: str, where: str) -> str:
    """`./usr/lib/x` as `usr/lib/x`, and the empty string for the root itself.

    Raises LockError for an absolute path, `..`, an empty part, a backslash or a control character.
    """
    trimmed = path.removeprefix("./").removesuffix("/")
    if trimmed in ("", "."):
        return ""
    parts = trimmed.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(
        c < " " or c in "\\\x7f" for c in path
    ):
        raise LockError(
            "an archive holds a path that leads out of it",
            where=where,
            expected="a plain relative path",
            got=repr(path[:200]),
        )
    return trimmed


def merged_path(path: str) -> str:
    """Where Debian's merged /usr has the file."""
    return f"usr/{path}" if path.partition("/")[0] in MERGED and "/" in path else path


def resolved_link(path: str, target: str, where: str) -> str:
    """`target` of a link at `path`, checked not to climb above the root of the image.

    Raises LockError when it does.
    """
    depth = 0 if target.startswith("/") else path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, "": 0, ".": 0}.get(part, 1)
        if depth < 0:
            raise LockError(
                "an archive holds a link that leads out of it",
                where=f"{where}: {path}",
                got=repr(target[:200]),
            )
    return target
