"""The files of the first model, checked by a thread while the rest of the server is imported.

Reading and digests need no lock of Python's, and importing numpy and ONNX Runtime takes as long as
checking some hundred megabytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from . import integrity
from .declared_files import DeclaredModel

# Below this the thread costs more than it saves.
_WORTH_A_THREAD = 4 << 20

Contents = dict[str, bytes]


class CheckedAhead:
    """Begins at once. Called, once, it gives what `integrity.verified` does, or raises it."""

    def __init__(self, folder: str, model: DeclaredModel) -> None:
        self._contents: list[Contents] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._check, args=(folder, model), name="checking", daemon=True
        )
        self._thread.start()

    def __call__(self) -> Contents:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._contents.pop()

    def _check(self, folder: str, model: DeclaredModel) -> None:
        try:
            self._contents.append(integrity.verified(folder, model))
        except BaseException as error:  # told to whoever asks
            self._error = error


def check_ahead(folder: str, models: Sequence[DeclaredModel]) -> list[Callable[[], Contents]]:
    """For the first of `models`, where it is large enough; the others are checked in their turn,
    so that no two are held in memory at a time."""
    return [
        CheckedAhead(folder, model)
        for model in models[:1]
        if sum(file.size for file in model.files) >= _WORTH_A_THREAD
    ]
