"""Runs of the session: requests put together, one alone, or in pieces of the sizes that it has.

Whatever happens to one request of a batch happens to that one only: a batch that fails is run again
one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .batching_settings import Batching
from .datatypes import Array
from .errors import RequestError
from .waiting import Job, Result

if TYPE_CHECKING:
    from .session import Session

# (Jobs, rows, seconds) of a run of the session.
Runs = list[tuple[int, int, float]]
# One for each job, or the rows of all of them together.
Results = list[Result] | Mapping[str, Array]


class BatchRuns:
    """Of one model's session, which may become another one. Several threads run at a time;
    `begins` is called by each when its batch is ready to run."""

    def __init__(self, session: Session, settings: Batching, begins: Callable[[], None]) -> None:
        self.session = session
        self._settings = settings
        self._begins = begins

    def batch(self, batch: list[Job]) -> tuple[Results, Runs]:
        """The results of a batch, and the runs that they took."""
        if len(batch) == 1:
            return self._run_one(batch[0])
        names = batch[0].outputs
        if any(job.outputs != names for job in batch):
            names = tuple(dict.fromkeys(name for job in batch for name in job.outputs))
        rows = sum(job.rows for job in batch)
        began = time.perf_counter()
        try:
            joined = {
                name: np.concatenate([job.inputs[name] for job in batch])
                for name in batch[0].inputs
            }
            self._begins()
            found = self.infer(joined, names, rows)
            if any(array.shape[:1] != (rows,) for array in found.values()):
                raise RequestError(500, "the model does not answer row by row")
        except Exception:
            # One of them is at fault, or they do not go together: each gets its own answer.
            singles = [self._run_one(job) for job in batch]
            return [one[0][0] for one in singles], [run for one in singles for run in one[1]]
        taken = time.perf_counter() - began
        return found, [(len(batch), rows, taken)]

    def _run_one(self, job: Job) -> tuple[list[Result], Runs]:
        inputs, most = job.inputs, self._settings.max_batch_size
        self._begins()
        if job.done:
            return [RequestError(499, "the client left")], []
        began = time.perf_counter()
        try:
            if most and job.rows > most:
                found = self._run_in_pieces(inputs, job.outputs, job.rows, most)
            else:
                found = self.infer(inputs, job.outputs, job.rows)
        except RequestError as error:
            return [error], [(1, job.rows, time.perf_counter() - began)]
        return [found], [(1, job.rows, time.perf_counter() - began)]

    def _run_in_pieces(
        self, inputs: Mapping[str, Array], outputs: tuple[str, ...], rows: int, most: int
    ) -> dict[str, Array]:
        pieces = [
            self.infer(
                {name: array[first : first + most] for name, array in inputs.items()},
                outputs,
                min(most, rows - first),
            )
            for first in range(0, rows, most)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in outputs}

    def infer(
        self, inputs: Mapping[str, Array], outputs: tuple[str, ...], rows: int
    ) -> dict[str, Array]:
        """One inference, in runs of the sizes that the session has where it has some.

        Rows are filled up with the last one. Only a model that was seen to answer row by row has a
        `max_batch_size` here, so the rows that are added change no other. Raises RequestError.
        """
        sizes = self.session.sizes if self._settings.max_batch_size and rows > 0 else ()
        if not sizes:
            return self.session.run(inputs, outputs)
        if rows > sizes[-1]:
            return self._run_in_pieces(inputs, outputs, rows, sizes[-1])
        size = next(size for size in sizes if size >= rows)
        if size == rows:
            return self.session.run(inputs, outputs)
        filled = {
            name: np.concatenate([array, np.repeat(array[-1:], size - rows, axis=0)])
            for name, array in inputs.items()
        }
        found = self.session.run(filled, outputs)
        if any(array.shape[:1] != (size,) for array in found.values()):
            raise RequestError(500, "the model does not answer row by row")
        return {name: array[:rows] for name, array in found.items()}


def split(batch: list[Job], found: Mapping[str, Array]) -> list[Result]:
    """Each job's own rows of what was run together."""
    results: list[Result] = []
    first = 0
    for job in batch:
        last = first + job.rows
        results.append({name: found[name][first:last] for name in job.outputs})
        first = last
    return results
