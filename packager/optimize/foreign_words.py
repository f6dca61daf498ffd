"""What libraries say, in our errors."""

from __future__ import annotations


def first_line(text: str, limit: int = 240) -> str:
    """A foreign message as one printable line: libraries put paths of their sources in the rest."""
    line = next((part.strip() for part in text.splitlines() if part.strip()), "no message")
    printable = "".join(sign if sign.isprintable() else "?" for sign in line)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"
