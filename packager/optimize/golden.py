"""Golden samples: inputs and the outputs that the runtime must give again when it starts.

An .npz with `input.<tensor>` and `output.<tensor>`, to be fed as they stand. The outputs are those
of the *chosen* model, computed here. The inputs travel in the image: samples for a release must not
hold anything that may not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packager.domain.model import Model
from packager.optimize.making import Workshop
from packager.optimize.npz import Array, read_npz, write_npz
from packager.optimize.processes import Failure


def golden_samples(workshop: Workshop, model: Model, target: Path) -> Path | Failure:
    """Run the golden samples through `model` and write both sides to `target`; none of a model that
    draws numbers, of which no answer can be expected again.

    As one batch where every input has a free first dimension; where the model does not take it
    after all, the first sample alone.
    """
    outcome: Path | Failure = Failure("there is no golden sample")
    for inputs in _inputs(workshop):
        outcome = _golden(workshop, model, inputs, target)
        if isinstance(outcome, Path):
            break
    return outcome


def _golden(
    workshop: Workshop, model: Model, inputs: dict[str, Array], target: Path
) -> Path | Failure:
    feed_file = workshop.folder / "golden-inputs.npz"
    output_file = workshop.folder / "golden-outputs.npz"
    write_npz(feed_file, inputs)
    task = {
        "task": "run",
        "model": str(model.files[0].path),
        "samples": str(feed_file),
        "target": str(output_file),
        "at_once": True,
        "twice": True,
    }
    if isinstance(failure := workshop.workers.do("golden", task, workshop.folder), Failure):
        return failure
    outputs = read_npz(output_file)
    write_npz(
        target,
        {f"input.{name}": array for name, array in inputs.items()}
        | {f"output.{name}": array for name, array in outputs.items()},
    )
    return target


def _inputs(workshop: Workshop) -> list[dict[str, Array]]:
    """What to try, best first; nothing for a model without inputs."""
    samples, source = workshop.samples, workshop.source
    if not samples.golden:
        return []
    first = samples.part(samples.golden[:1])
    single = {
        name: array if samples.batched[name] else np.asarray(array[0])
        for name, array in first.items()
    }
    free = all(spec.shape[:1] == (-1,) for spec in source.inputs)
    return [samples.part(samples.golden), single] if samples.stackable and free else [single]
