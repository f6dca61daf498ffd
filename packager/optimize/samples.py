"""Representative inputs: read, checked against the signature, and split into disjoint parts.

An .npz file holds one array for each input, by name; the first axis counts samples. Samples are
split by their content, so equal ones never stand on both sides: *calibration* sets quantization
ranges, *evaluation* proves quality and is seen by no candidate before, *golden* ones (four at most)
travel in the image as the runtime's self-test. The split depends on nothing but the samples.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packager.digest import Digest
from packager.domain.model import Model, SampleUse, TensorSpec
from packager.errors import Finding, InputError
from packager.optimize.foreign_words import first_line
from packager.optimize.npz import Array, array_bytes
from packager.optimize.signature import NUMPY_NAMES

CALIBRATION_AT_MOST = 256
GOLDEN_AT_MOST = 4
GOLDEN_BYTES_AT_MOST = 1 << 20
MADE_UP_VALUES, MADE_UP_AT_LEAST = 1 << 25, 8
"""Values in all made-up samples together, and how few samples are still worth making."""

Feed = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Samples:
    """Distinct samples as arrays by input name; each part lists indices into their first axis.

    `batched` tells for each input whether a sample is one row of a batch (fed as `array[i:i+1]`)
    or a whole input (fed as `array[i]`).
    """

    arrays: Mapping[str, Array]
    batched: Mapping[str, bool]
    calibration: tuple[int, ...]
    evaluation: tuple[int, ...]
    golden: tuple[int, ...]
    synthetic: bool

    def part(self, indices: tuple[int, ...]) -> Feed:
        """The samples of one part, stacked, sorted by input name."""
        chosen = np.asarray(indices, dtype=np.int64)
        return {name: self.arrays[name][chosen] for name in sorted(self.arrays)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape in which each input is fed for one sample."""
        return {
            name: (1, *array.shape[1:]) if self.batched[name] else array.shape[1:]
            for name, array in self.arrays.items()
        }

    def uses(self) -> tuple[SampleUse, ...]:
        """Counts and digests of the parts: what evidence may say about them."""
        parts = (
            ("calibration", self.calibration),
            ("evaluation", self.evaluation),
            ("golden", self.golden),
        )
        return tuple(
            SampleUse(purpose, len(part), digest_of(self.part(part)), self.synthetic)
            for purpose, part in parts
            if part
        )

    @property
    def stackable(self) -> bool:
        """Whether several samples may be fed at once."""
        return bool(self.batched) and all(self.batched.values())


def read_samples(path: Path, model: Model) -> Samples:
    """Read `path` and hold it against the model's inputs. Raises InputError with all findings."""
    where = str(path)
    arrays = load_arrays(path, "samples")
    findings = [*_name_findings(arrays, model, where)]
    batched: dict[str, bool] = {}
    for spec in model.inputs:
        if spec.name in arrays:
            array, finding = _fitted(arrays[spec.name], spec, where)
            arrays[spec.name] = array
            findings.extend([finding] if finding else [])
            batched[spec.name] = array.ndim == len(spec.shape)
    lengths = {name: array.shape[0] for name, array in arrays.items() if array.ndim}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name}: {count}" for name, count in sorted(lengths.items()))
        findings.append(
            Finding("the inputs have different numbers of samples", where, "equal numbers", got)
        )
    elif not findings and (not lengths or 0 in lengths.values()):
        findings.append(Finding("there is no sample in the file", where, "at least one sample"))
    if findings:
        raise InputError.of(findings)
    return _split(arrays, batched, synthetic=False)


def synthetic_samples(model: Model, count: int, free_size: int = 32) -> Samples:
    """Made-up inputs of the right type and shape, the same at each call.

    They show that a model runs and how fast; nothing about quality. Floats are normal, whole
    numbers are 0 or 1 (an index must not leave its table), free dimensions get `free_size`. Of
    large inputs there are fewer than `count`. Raises InputError for those of which not even a few
    fit into memory.
    """
    if unfed := [spec.name for spec in model.inputs if spec.datatype == "BF16"]:
        raise InputError(
            "a model whose inputs are BF16 cannot be tried here",
            where=f"input {unfed[0]!r} of the model",
            expected="inputs of a type that numpy has",
            got="BF16",
            next_step="export it so that it takes FP32 or FP16 and casts inside",
        )
    count = _fitting(model, count, free_size)
    # RandomState's streams are frozen by numpy's compatibility policy, Generator's are not.
    random = np.random.RandomState(0)
    arrays: dict[str, Array] = {}
    batched: dict[str, bool] = {}
    for spec in sorted(model.inputs, key=lambda spec: spec.name):
        batched[spec.name] = _is_batched(spec)
        own = spec.shape[1:] if batched[spec.name] else spec.shape
        shape = (count, *(size if size >= 0 else free_size for size in own))
        if spec.datatype in ("FP32", "FP64", "FP16"):
            values = random.standard_normal(shape).astype(NUMPY_NAMES[spec.datatype])
        elif spec.datatype == "BYTES":
            values = random.randint(0, 2, shape).astype(np.str_)
        else:
            values = random.randint(0, 2, shape).astype(NUMPY_NAMES.get(spec.datatype, "int64"))
        arrays[spec.name] = values
    return _split(arrays, batched, synthetic=True)


def _is_batched(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[0] in (-1, 1)


def _fitting(model: Model, count: int, free_size: int) -> int:
    """How many samples to make up. Dimensions are what the model declares, and whatever it says
    must not be believed as far as memory goes."""
    sizes = {
        spec.name: math.prod(
            size if size >= 0 else free_size for size in spec.shape[_is_batched(spec) :]
        )
        for spec in model.inputs
    }
    most = MADE_UP_VALUES // max(1, sum(sizes.values()))
    if most >= MADE_UP_AT_LEAST:
        return min(count, most)
    largest = max(sizes, key=lambda name: sizes[name])
    raise InputError(
        "the model's inputs are too large for samples to be made up",
        where=f"input {largest!r} of the model",
        expected=f"at most {MADE_UP_VALUES // MADE_UP_AT_LEAST} values in a sample",
        got=f"{sizes[largest]} values",
        next_step="give representative inputs (model.samples, --samples), or declare the"
        " dimensions that the model is used with",
    )


def digest_of(arrays: Feed) -> Digest:
    """One digest for named arrays: names, types, shapes and values."""
    return Digest.of_chunks(
        chunk
        for name in sorted(arrays)
        for chunk in (name.encode(), b"\0", array_bytes(arrays[name]))
    )


def load_arrays(path: Path, what: str) -> dict[str, Array]:
    """The arrays of an .npz file by name. Raises InputError that speaks of `what`."""
    try:
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                step = "numpy.savez(path, **{input name: array})"
                raise _unusable(path, what, "no zip archive", step)
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except InputError:
        raise
    except OSError as error:
        raise _unusable(
            path, what, first_line(str(error)), "check the path and its permissions"
        ) from error
    except Exception as error:  # a damaged zip or .npy raises whatever its parser stumbled over
        again = "write it again with numpy.savez"
        raise _unusable(path, what, first_line(str(error)), again) from error


def _unusable(path: Path, what: str, got: str, next_step: str) -> InputError:
    each = "one array for each input" if what == "samples" else "arrays"
    return InputError(
        f"the {what} cannot be read",
        where=str(path),
        expected=f"an .npz file with {each}, without Python objects",
        got=got,
        next_step=next_step,
    )


def _name_findings(arrays: Mapping[str, Array], model: Model, where: str) -> list[Finding]:
    wanted = {spec.name for spec in model.inputs}
    names = ", ".join(sorted(arrays)) or "no array"
    missing = [
        Finding(f"there are no samples for the input {name!r}", where, "one array per input", names)
        for name in sorted(wanted - set(arrays))
    ]
    strange = [
        Finding(f"the array {name!r} is no input of the model", where, ", ".join(sorted(wanted)))
        for name in sorted(set(arrays) - wanted)
    ]
    return missing + strange


def _fitted(array: Array, spec: TensorSpec, where: str) -> tuple[Array, Finding | None]:
    """The array in the type that the model wants, or what is wrong with it."""
    expected = NUMPY_NAMES.get(spec.datatype, "none: numpy has no such type")
    if spec.datatype == "BYTES" and array.dtype.kind in "US":
        try:
            if array.dtype.kind == "S":
                array = np.char.decode(array.astype(np.bytes_), "utf-8")
        except UnicodeDecodeError as error:
            return array, Finding(
                f"the samples of {spec.name!r} are no text", where, "UTF-8", str(error)
            )
    elif array.dtype.name != expected:
        return array, Finding(
            f"the samples of {spec.name!r} have the wrong type", where, expected, array.dtype.name
        )
    if not _fits(array.shape, spec.shape):
        if 0 in spec.shape:
            return array, _empty(spec, where, array.shape)
        wanted = "×".join("any" if size < 0 else str(size) for size in spec.shape)
        return array, Finding(
            f"the samples of {spec.name!r} have the wrong shape",
            where,
            f"a first axis of samples, each for an input of {wanted or 'one value'}",
            "×".join(map(str, array.shape)) or "one value",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return array, Finding(
            f"the samples of {spec.name!r} hold NaN or infinity", where, "finite numbers"
        )
    return array, None


def _empty(spec: TensorSpec, where: str, shape: tuple[int, ...]) -> Finding:
    """An exporter that wrote 0 where it meant any size."""
    return Finding(
        f"the model declares a dimension of 0 in its input {spec.name!r}, so that it takes no value"
        " there",
        where,
        f"samples of the size {'×'.join('any' if size < 0 else str(size) for size in spec.shape)},"
        " which are empty",
        "×".join(map(str, shape)) or "one value",
        "where 0 was meant to be any size, give that dimension of graph.input a name (dim_param)"
        " with onnx, and save the model again",
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if len(shape) == len(wanted) + 1:
        return _agree(shape[1:], wanted)
    if wanted and wanted[0] in (-1, 1) and len(shape) == len(wanted):
        return _agree(shape[1:], wanted[1:])
    return False


def _agree(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(want < 0 or have == want for have, want in zip(shape, wanted, strict=True))


def in_the_file(held_out: int) -> int:
    """How many distinct samples leave so many for evaluation when all parts are dealt out."""
    return next(
        count
        for count in range(held_out, 2 * held_out + 2 * GOLDEN_AT_MOST + 2)
        if count - GOLDEN_AT_MOST - min(CALIBRATION_AT_MOST, count // 4) >= held_out
    )


def _split(arrays: Mapping[str, Array], batched: Mapping[str, bool], *, synthetic: bool) -> Samples:
    """Order the distinct samples by their own digest, and deal them out."""
    if not arrays:  # a model without inputs has one sample: nothing
        return Samples({}, {}, (), (0,), (), synthetic)
    count = min((array.shape[0] for array in arrays.values()), default=0)
    keys: dict[str, int] = {}
    for index in range(count):
        sha = hashlib.sha256()
        for name in sorted(arrays):
            sha.update(np.ascontiguousarray(arrays[name][index]).tobytes())
        keys.setdefault(sha.hexdigest(), index)
    order = [keys[key] for key in sorted(keys)]
    size = sum(array.nbytes for array in arrays.values()) // max(count, 1)
    golden = min(
        GOLDEN_AT_MOST, max(1, len(order) // 4), max(1, GOLDEN_BYTES_AT_MOST // max(size, 1))
    )
    calibration = min(CALIBRATION_AT_MOST, len(order) // 4)
    return Samples(
        arrays=dict(arrays),
        batched=dict(batched),
        golden=tuple(order[:golden]),
        calibration=tuple(order[golden : golden + calibration]),
        evaluation=tuple(order[golden + calibration :]),
        synthetic=synthetic,
    )
