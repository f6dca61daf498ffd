"""What is looked after once a second: keys and certificates that changed, records that wait for the
disk, memory that large requests took, and models whose session fails.

A model that fails is out of rotation (readiness says so) until a new session has passed the checks
of the start. Where that does not help, or an inference hangs, liveness says so, and whoever watches
the process starts it again.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from .access import Access
from .errors import Refusal
from .journal import Journal
from .lifecycle import Lifecycle
from .memory import Growth
from .models import Model, Models, checked_session
from .settling import give_memory_back
from .tls import Tls

if TYPE_CHECKING:
    from .records import Records

_EVERY_SECONDS = 1.0
_MOST_INFERENCE_SECONDS = 300.0
_TRIES = 5


class Housekeeping:
    """Runs beside the server until it is cancelled."""

    def __init__(
        self,
        folder: str,
        lifecycle: Lifecycle,
        journal: Journal,
        access: Access,
        tls: Tls,
        records: Records | None,
        helpers: Executor,
        growth: Growth,
    ) -> None:
        self._folder = folder
        self._lifecycle = lifecycle
        self._journal = journal
        self._access = access
        self._tls = tls
        self._records = records
        self._helpers = helpers
        self._growth = growth
        self._tries: dict[str, int] = {}

    async def run(self, models: Models) -> None:
        """Look after everything, again and again."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            for part in (self._access, self._tls):
                if part.changed():
                    self._reload(part)
            self._keep_records()
            if self._growth.too_much():
                self._give_back(models)
            for model in models.all():
                model.scheduler.give_up_after(_MOST_INFERENCE_SECONDS)
                if model.scheduler.stuck:
                    self._lifecycle.hopeless = True
                elif model.scheduler.failing:
                    await self._revive(model)

    @staticmethod
    def _give_back(models: Models) -> None:
        give_memory_back()
        for model in models.all():
            model.session.give_back()

    def _reload(self, part: Access | Tls) -> None:
        name = type(part).__name__.lower()
        try:
            part.reload()
        except (Refusal, OSError) as error:
            why = str(error) if isinstance(error, Refusal) else type(error).__name__
            self._journal.event("reload_failed", what=name, why=why)
        else:
            self._journal.event("reloaded", what=name)

    def _keep_records(self) -> None:
        if self._records is None:
            return
        try:
            self._records.flush()
        except OSError as error:
            # Without records this server must not work where law asks for them.
            self._journal.event("records_failed", why=error.strerror)
            self._lifecycle.hopeless = True

    async def _revive(self, model: Model) -> None:
        key = str(model.settings)
        self._tries[key] = self._tries.get(key, 0) + 1
        self._journal.event("session_failing", model=key, attempt=self._tries[key])
        loop = asyncio.get_running_loop()
        try:
            session, _ = await loop.run_in_executor(
                self._helpers, checked_session, self._folder, model.settings
            )
        except Refusal as refusal:
            self._journal.event("session_not_revived", model=key, why=str(refusal))
            self._lifecycle.hopeless = self._tries[key] >= _TRIES
            return
        model.scheduler.replace(session)
        self._journal.event("session_revived", model=key)
        if self._tries[key] >= _TRIES:
            self._lifecycle.hopeless = True
