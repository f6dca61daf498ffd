"""The record of events where law asks for one (EU AI Act, article 12): what ran, when, for whom.

One JSON object a line in `PACKAGER_AUDIT_DIR`, each with the SHA-256 of the line before it, so that
a line that is changed or missing shows. Never a byte of a request or an answer. Files are rotated
by size and by day, and deleted when the longest time is over that the jurisdiction allows; where it
names a shortest time only, nothing is deleted here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .errors import ExitCode, Refusal
from .records_settings import AUDIT_FOLDER, RecordsSettings

_MOST_BYTES = 64 << 20
_FLUSH_SECONDS = 1.0
_FIRST = "0" * 64


class Records:
    """Appends to the newest file of a folder. Written through to the disk once a second."""

    def __init__(self, folder: Path, settings: RecordsSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._last = _FIRST
        self._day = ""
        self._size = 0
        self._descriptor = -1
        self._buffer: list[bytes] = []
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._last = _tip(folder)
            self._open(datetime.now(UTC))
        except OSError as error:
            raise Refusal(
                ExitCode.CONFIGURATION,
                f"{AUDIT_FOLDER}: {folder} cannot be written: {error.strerror}",
            ) from error

    def event(self, event: str, **fields: object) -> None:
        """Append one event; it is on the disk after `flush`."""
        now = datetime.now(UTC)
        line = json.dumps(
            {
                "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "event": event,
                **fields,
                **self._settings.tag(),
                "previous": self._last,
            },
            separators=(",", ":"),
        ).encode()
        self._last = hashlib.sha256(line).hexdigest()
        self._buffer.append(line + b"\n")
        self._size += len(line) + 1

    def flush(self) -> None:
        """Write what is waiting, and make sure that it stays; a new day and a full file begin the
        next one. Raises OSError when it cannot, and then nothing of what waits is lost."""
        if self._buffer:
            data, self._buffer = b"".join(self._buffer), []
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._buffer.insert(0, data)
                raise
            os.fdatasync(self._descriptor)
        if os.fstat(self._descriptor).st_nlink == 0:
            # What is written to it is read by nobody.
            raise FileNotFoundError(errno.ENOENT, "the file of records was removed")
        now = datetime.now(UTC)
        if now.date().isoformat() != self._day or self._size > _MOST_BYTES:
            self._open(now)

    def close(self) -> None:
        self.flush()
        os.close(self._descriptor)

    def _open(self, now: datetime) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._day = now.date().isoformat()
        self._expire(now)
        name = f"audit-{now.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09d}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(self._folder / name, flags, 0o600)
        self._size = 0

    def _expire(self, now: datetime) -> None:
        """Delete the files all of whose lines are older than the longest time allowed."""
        if self._settings.keep_at_most_days is None:
            return
        days = max(self._settings.keep_at_most_days, self._settings.keep_at_least_days or 0)
        oldest = (now - timedelta(days=days)).timestamp()
        for file in self._folder.glob("audit-*.jsonl"):
            if file.stat().st_mtime < oldest:
                file.unlink()


def _tip(folder: Path) -> str:
    """The digest of the last line that was written before, so that the chain goes on."""
    for file in sorted(folder.glob("audit-*.jsonl"), reverse=True):
        lines = file.read_bytes().splitlines()
        if lines:
            return hashlib.sha256(lines[-1]).hexdigest()
    return _FIRST
