"""Solves the programme of a placement with HiGHS. The only module that knows HiGHS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from packager.domain.placement import Placement
from packager.errors import InputError, PackagerError
from packager.place.options import Problem
from packager.place.programme import Programme, formulate
from packager.place.pruning import pruned
from packager.place.solution import placement_of

GAP = 0.01


def solve(problem: Problem, *, seconds: float = 60.0, gap: float = GAP) -> Placement | None:
    """The best placement, to a relative gap; None when no placement keeps everything.

    Raises PackagerError when the time is over before any placement was found.
    """
    if {option.demand.name for option in problem.options} != {d.name for d in problem.demands}:
        return None
    fewer, off = pruned(problem)
    programme, columns = formulate(fewer)
    values, reached = _run(programme, seconds, gap)
    if values is None:
        return None
    found = placement_of(fewer, [float(values[column]) for column in columns.share], reached)
    return replace(found, gap=found.gap + off / found.cost) if off and found.cost else found


def _run(
    programme: Programme, seconds: float, gap: float
) -> tuple[np.ndarray[Any, Any] | None, float]:
    """The values of the columns, None when infeasible; the relative gap that was reached."""
    highspy = _highs()
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(programme.cost), len(programme.rows)
    model.col_cost_ = np.array(programme.cost, np.double)
    model.col_lower_ = np.zeros(model.num_col_, np.double)
    model.col_upper_ = np.array(programme.upper, np.double)
    model.row_lower_ = np.array([row[0] for row in programme.rows], np.double)
    model.row_upper_ = np.array([row[1] for row in programme.rows], np.double)
    starts = np.cumsum([0] + [len(row[2]) for row in programme.rows])
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = starts.astype(np.int32)
    model.a_matrix_.index_ = np.array([c for row in programme.rows for c in row[2]], np.int32)
    model.a_matrix_.value_ = np.array(
        [v for row in programme.rows for v in row[2].values()], np.double
    )
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    model.integrality_ = [kinds[whole] for whole in programme.whole]
    with _unheard():
        solver = highspy.Highs()
    for name, value in (
        *(
            ("output_flag", False),
            ("log_to_console", False),
            ("mip_rel_gap", gap),
            ("time_limit", float(seconds)),
        ),
        *(("random_seed", 0), ("threads", min(4, os.cpu_count() or 1))),
    ):
        solver.setOptionValue(name, value)
    solver.passModel(model)
    solver.run()
    info = solver.getInfo()
    status = solver.getModelStatus()
    if status in (
        highspy.HighsModelStatus.kInfeasible,
        highspy.HighsModelStatus.kUnboundedOrInfeasible,
    ):
        return None, 0.0
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        raise PackagerError(
            "no placement was found in time",
            where=f"after {seconds:g} s",
            got=solver.modelStatusToString(status),
            next_step="allow more time with --seconds, or name fewer sites",
        )
    reached = float(info.mip_gap) if np.isfinite(info.mip_gap) else 0.0
    return np.array(solver.getSolution().col_value), max(0.0, reached)


@contextmanager
def _unheard() -> Iterator[None]:
    """HiGHS greets on the standard output, which belongs to the command's result."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, and its number
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _highs() -> Any:
    try:
        import highspy
    except ImportError as error:
        raise InputError(
            "the solver is not installed",
            expected="the Python package highspy (HiGHS)",
            next_step="pip install '.[plan]' in packager's source",
        ) from error
    return highspy
