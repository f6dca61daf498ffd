"""A process of its own for one task on one candidate: make it, run it, or time it.

Started as `python -P -m packager.optimize.worker TASK RESULT` by `processes`; both are JSON files.
A crash, a hang or a full memory ends this process and nothing else. Limits are set before the heavy
imports: core dumps off, address space bounded, and an alarm in case the parent is gone.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(task_file: Path, result_file: Path) -> int:
    """Do the task, write the result. What fails in an ordinary way is a result with a reason."""
    task = json.loads(task_file.read_text())
    _limit(task["memory_bytes"], task["seconds"])
    try:
        result = {"ok": True, **_TASKS[task["task"]](task)}
    except Exception as error:  # whatever the engine raises becomes the candidate's reason
        from packager.optimize.foreign_words import first_line

        message = first_line(str(error))
        if isinstance(error, MemoryError):
            message = f"{resource.getrlimit(resource.RLIMIT_AS)[0] / 1e9:.1f} GB did not suffice"
        result = {"ok": False, "reason": f"{type(error).__name__}: {message}"}
    result_file.write_text(json.dumps(result))
    return 0


def make(task: dict[str, Any]) -> dict[str, Any]:
    """Apply the passes of a recipe in turn: `source` → `target`. Notes are for the evidence."""
    from packager.optimize.passes import PASSES, Step

    target = Path(task["target"])
    notes: list[str] = []

    def passes(source: Path) -> None:
        for position, step in enumerate(task["passes"]):
            last = position == len(task["passes"]) - 1
            output = target if last else target.parent / f"step-{position}" / target.name
            output.parent.mkdir(parents=True, exist_ok=True)
            notes.extend(
                PASSES[step["name"]](
                    Step(source, output, step["parameters"], lambda: _feeds(task), task["external"])
                )
            )
            source = output

    if task["aside"]:
        from packager.optimize.tables import make_aside

        make_aside(Path(task["source"]), target, passes)
    else:
        passes(Path(task["source"]))
    return {"notes": notes}


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Outputs of `model` for `samples`, one sample a call or all `at_once`, written to `target`;
    and the memory that the session and its first answer took."""
    import time

    from packager.optimize.engine import open_session
    from packager.optimize.npz import read_npz, write_npz
    from packager.optimize.ragged import stacked
    from packager.optimize.timing import resident

    before, most, failure = resident(), 0, ""
    session = open_session(Path(task["model"]), 1)
    names = [output.name for output in session.get_outputs()]
    started = time.monotonic()
    if task["at_once"]:
        feed = {name: _engine_form(array) for name, array in read_npz(task["samples"]).items()}
        values = session.run(None, feed)
        most = resident() - before
        if task.get("twice") and not _alike(values, session.run(None, feed)):
            raise ValueError("asked twice it gives two answers, so that none can be expected of it")
        outputs = {name: _plain(value) for name, value in zip(names, values, strict=True)}
    else:
        rows: list[Any] = []
        first: list[dict[str, Any]] = []
        for feed in _feeds(task):
            rows.append(session.run(None, feed))
            most = most or resident() - before
            if len(first) < task.get("batch", 0):
                first.append(feed)
        outputs, failure = _in_a_batch(session, names, first)
        for position, name in enumerate(names):
            outputs |= stacked(name, [_plain(row[position]) for row in rows])
    seconds = time.monotonic() - started
    write_npz(Path(task["target"]), outputs)
    return {"seconds": seconds, "resident_bytes": max(0, most), "batch": failure}


def _in_a_batch(
    session: Any, names: list[str], feeds: list[dict[str, Any]]
) -> tuple[dict[str, Any], str]:
    """The outputs of several samples at once, their names marked; or why there are none."""
    from packager.optimize.foreign_words import first_line
    from packager.optimize.in_batches import MARK
    from packager.optimize.timing import stack

    if len(feeds) < 2:
        return {}, ""
    try:
        values = session.run(None, stack(feeds, len(feeds)))
    except Exception as error:  # many a model takes one sample only
        return {}, first_line(str(error))
    return {name + MARK: _plain(value) for name, value in zip(names, values, strict=True)}, ""


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Time `candidate` against `source` in interleaved rounds, over threads and batches."""
    from packager.optimize.timing import time_candidate

    return time_candidate(
        Path(task["source"]),
        Path(task["candidate"]),
        list(_feeds(task)),
        [(threads, batch) for threads, batch in task["cells"]],
        pace=task["pace"],
        sweep=task["sweep"],
        begun={(threads, batch): rounds for threads, batch, rounds in task["begun"]},
    )


def duel(task: dict[str, Any]) -> dict[str, Any]:
    """Two candidates side by side, or one beside the source, until it is clear who is ahead."""
    from packager.optimize.duelling import of_task

    return of_task(task, list(_feeds(task)))


def callers(task: dict[str, Any]) -> dict[str, Any]:
    """What putting requests together gives callers who wait for their answers."""
    from packager.optimize.callers import gain_of_batches

    feeds = list(_feeds(task))
    return {**gain_of_batches(Path(task["model"]), feeds, task["threads"], task["batch"])}


def look(task: dict[str, Any]) -> dict[str, Any]:
    """A first look at the speed of all `candidates`, one after the other."""
    from packager.optimize.timing import look_at_all

    candidates = {name: Path(file) for name, file in task["candidates"].items()}
    return {"looks": look_at_all(Path(task["source"]), candidates, list(_feeds(task)))}


def score(task: dict[str, Any]) -> dict[str, Any]:
    """The user's metric over `outputs` and the labels of the same samples, written to `target`."""
    from packager.optimize import task as metric
    from packager.optimize.in_batches import taken_out
    from packager.optimize.npz import read_npz, write_npz

    labels = read_npz(task["labels"])
    part = {name: array[task["start"] : task["stop"]] for name, array in labels.items()}
    outputs = read_npz(task["outputs"])
    taken_out(outputs, "")
    write_npz(Path(task["target"]), {"scores": metric.score(Path(task["plugin"]), outputs, part)})
    return {}


def layers(task: dict[str, Any]) -> dict[str, Any]:
    """The signal-to-noise ratio of each tensor that source and candidate share."""
    from packager.optimize.layers import layer_sqnr

    return {"layers": layer_sqnr(Path(task["source"]), Path(task["candidate"]), _feeds(task))}


def text(task: dict[str, Any]) -> dict[str, Any]:
    """What is done with text models."""
    from packager.optimize.text.tasks import TASKS

    result: dict[str, Any] = TASKS[task["task"]](task)
    return result


_TASKS = {
    "make": make,
    "run": run,
    "measure": measure,
    "duel": duel,
    "callers": callers,
    "look": look,
    "score": score,
    "layers": layers,
    "text_encode": text,
    "text_answer": text,
    "text_judge": text,
}


def _feeds(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The samples one by one, as the engine takes them."""
    if not task.get("samples"):
        return
    from packager.optimize.npz import read_npz

    arrays = read_npz(task["samples"])
    batched = task["batched"]
    for index in range(task["start"], task["stop"]):
        yield {
            name: _engine_form(array[index : index + 1] if batched[name] else array[index])
            for name, array in arrays.items()
        }


def _engine_form(array: Any) -> Any:
    """Strings go to the engine as Python objects, everything else as it is."""
    import numpy as np

    array = np.asarray(array)
    return array.astype(object) if array.dtype.kind == "U" else array


def _plain(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    return array.astype(np.str_) if array.dtype.kind == "O" else array


def _alike(once: list[Any], again: list[Any]) -> bool:
    """Whether both answers are the same, NaN included; text and numbers."""
    import numpy as np

    return all(
        np.array_equal(one, two, equal_nan=np.asarray(one).dtype.kind == "f")
        for one, two in zip(map(_plain, once), map(_plain, again), strict=True)
    )


def _limit(memory_bytes: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)  # nor may it fill the disk
    if most == resource.RLIM_INFINITY or most > bound:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, most))
    signal.alarm(seconds + 5)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
