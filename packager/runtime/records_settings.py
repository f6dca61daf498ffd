"""What `server.json` says of logs and records: their class of data, and how long they are kept."""

from __future__ import annotations

from typing import NamedTuple

from .reading import Reader

AUDIT_FOLDER = "PACKAGER_AUDIT_DIR"


class RecordsSettings(NamedTuple):
    """`retention` names the class of data; days are what all laws together ask for, None where
    they ask for nothing. The journal goes to stdout, so whoever collects it keeps to them."""

    retention: str | None = None
    keep_at_least_days: int | None = None
    keep_at_most_days: int | None = None

    def tag(self) -> dict[str, str]:
        """What every line carries."""
        return {"retention": self.retention} if self.retention else {}


def read_records(root: Reader) -> RecordsSettings:
    """The section `records` of server.json; all of it may be missing."""
    if not root.has("records"):
        return RecordsSettings()
    reader = root.at("records")
    reader.only(optional=("retention", "keep_at_least_days", "keep_at_most_days"))

    def days(key: str) -> int | None:
        if not reader.has(key) or reader.at(key).value is None:
            return None
        return reader.integer(key, 0, 36500)

    return RecordsSettings(
        reader.text("retention") if reader.has("retention") else None,
        days("keep_at_least_days"),
        days("keep_at_most_days"),
    )
