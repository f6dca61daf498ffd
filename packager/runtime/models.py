"""The models in service: loading them one check after the other, and finding them by name.

`load_all` is the order of suspicion: files, execution provider, signature, golden answers. Only
when all of it holds for every model does the server become ready.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import golden, integrity
from .checking_ahead import Contents
from .configuration import ModelSettings
from .datatypes import Array
from .errors import ExitCode, Refusal, RequestError, quoted
from .protocol import InferenceRequest, Signature
from .requests import RequestReader
from .responses import AnswerWriter
from .scheduler import Scheduler
from .serving_settings import Task
from .tensors import bad
from .waiting import Job, Result

if TYPE_CHECKING:
    from .images import Images
    from .session import Session
    from .texts import Tokens

_MOST_INSTANCES = 8
_ALONE: tuple[tuple[int, ...], ...] = ()


class Model(NamedTuple):
    """A model in service."""

    settings: ModelSettings
    scheduler: Scheduler
    requests: RequestReader
    answers: AnswerWriter
    steps: Tokens | Images | None = None

    @property
    def session(self) -> Session:
        return self.scheduler.session

    def job(self, request: InferenceRequest, deliver: Callable[[Result], None], client: str) -> Job:
        """The request as an entry of the queue; raises RequestError (400)."""
        batching = self.settings.batching
        level = request.schedule.priority or batching.default_priority_level
        if level > batching.priority_levels:
            raise bad(f"priority must be at most {batching.priority_levels}")
        timeout = request.schedule.timeout
        rows, key = 1, _ALONE
        if batching.max_batch_size:
            rows, key = _rows_and_key(request)
        return Job(
            request.inputs,
            tuple(output.spec.name for output in request.outputs),
            deliver,
            rows=rows,
            key=key,
            client=client,
            level=level,
            deadline=time.monotonic() + timeout / 1e6 if timeout else None,
        )

    def metadata(self, versions: tuple[str, ...]) -> dict[str, object]:
        """Open Inference Protocol, "Model Metadata"."""
        return {
            "name": self.settings.name,
            "versions": list(versions),
            "platform": "onnx_onnxv1",
            "inputs": [spec.as_dict() for spec in self.settings.inputs],
            "outputs": [spec.as_dict() for spec in self.settings.outputs],
        }


def _rows_and_key(request: InferenceRequest) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """How many rows, and what two requests must have in common to go together."""
    shapes = [array.shape for array in request.inputs.values()]
    rows = shapes[0][0]
    if any(shape[0] != rows for shape in shapes):
        raise bad("the inputs must have the same first dimension, the number of rows")
    if len(shapes) == 1:
        return rows, (shapes[0][1:],)
    return rows, tuple(request.inputs[name].shape[1:] for name in sorted(request.inputs))


class Models(NamedTuple):
    """All models by name and version."""

    by_name: Mapping[str, Mapping[str, Model]]

    def find(self, name: str, version: str | None) -> Model:
        """The model, in its highest version when none is given; raises RequestError (404)."""
        versions = self.by_name.get(name)
        if not versions:
            raise RequestError(404, f"there is no model {quoted(name)}")
        chosen = self.versions(name)[-1] if version is None else version
        if chosen not in versions:
            raise RequestError(404, f"model {quoted(name)} has no version {quoted(chosen)}")
        return versions[chosen]

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model, lowest first."""
        return tuple(sorted(self.by_name[name], key=int))

    def all(self) -> Iterator[Model]:
        """Every model in every version, in the order of names and versions."""
        for name in sorted(self.by_name):
            for version in self.versions(name):
                yield self.by_name[name][version]

    def batching_refused(self, declared: tuple[ModelSettings, ...]) -> list[str]:
        """The models whose requests are not put together although they were declared to be."""
        return [
            str(settings)
            for settings in declared
            if settings.batching.max_batch_size
            and not self.by_name[settings.name][settings.version].settings.batching.max_batch_size
        ]

    def graphs_refused(self, declared: tuple[ModelSettings, ...]) -> list[str]:
        """The models that run without the CUDA graphs that they were declared to have."""
        return [
            str(settings)
            for settings in declared
            if settings.batching.cuda_graphs
            and not self.by_name[settings.name][settings.version].session.graphs
        ]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let every model take requests."""
        for model in self.all():
            model.scheduler.start(loop)

    def stop(self) -> None:
        for model in self.all():
            model.scheduler.stop()


def load_all(
    folder: str,
    declared: tuple[ModelSettings, ...],
    checked: Sequence[Callable[[], Contents]] = (),
) -> Models:
    """Load and check every model; raises Refusal at the first thing that is not as declared.

    `checked` gives the checked files of the first models, where that was begun before.
    """
    by_name: dict[str, dict[str, Model]] = {}
    for number, settings in enumerate(declared):
        contents = checked[number]() if number < len(checked) else None
        by_name.setdefault(settings.name, {})[settings.version] = _load(folder, settings, contents)
        del contents
    return Models(by_name)


def checked_session(
    folder: str, settings: ModelSettings, contents: Contents | None = None
) -> tuple[Session, bool]:
    """A session that passed every check, and whether it answers row by row; raises Refusal."""
    contents = contents or integrity.verified(folder, settings)
    from .session import open_session  # ONNX Runtime: not for a server of text alone

    session = open_session(folder, settings, contents[settings.path])
    if not settings.golden:
        return session, False
    inputs = golden.self_test(session, contents[settings.golden.path])
    by_row = bool(settings.batching.max_batch_size) and golden.answers_by_row(session, inputs)
    if by_row and settings.batching.cuda_graphs and not _record_graphs(session, inputs):
        plain = settings._replace(batching=settings.batching._replace(cuda_graphs=()))
        session = open_session(folder, plain, contents[settings.path])
        golden.self_test(session, contents[settings.golden.path])
    for size in session.sizes if by_row else ():
        _warm(session, inputs, size)
    return session, by_row


def _record_graphs(session: Session, inputs: dict[str, Array]) -> bool:
    """Whether every declared CUDA graph could be recorded and answers what the plain run does."""
    if session.graphs is None:
        return False
    try:
        plain = session.run(inputs, [spec.name for spec in session.settings.outputs])
        session.graphs.record(inputs, plain)
        return all(golden.same_filled_up(session, inputs, plain, n) for n in session.sizes)
    except Exception:  # whatever ONNX Runtime finds against it: the plain session serves as well
        return False


def _warm(session: Session, inputs: Mapping[str, Array], rows: int) -> None:
    """Let the provider make its plan for a size of batch before the first client waits for it."""
    full = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}
    try:
        session.run(full, [spec.name for spec in session.settings.outputs])
    except RequestError as error:
        raise Refusal(
            ExitCode.UNAVAILABLE, f"{session.settings}: a batch of {rows} rows fails: {error}"
        ) from error


def _load(folder: str, settings: ModelSettings, contents: Contents | None) -> Model:
    session, by_row = checked_session(folder, settings, contents)
    signature = Signature(settings.inputs, settings.outputs)
    if settings.batching.max_batch_size and not by_row:
        # Nothing is put together that was not seen to come apart again.
        settings = settings._replace(batching=settings.batching._replace(max_batch_size=0))
    return Model(
        settings,
        Scheduler(session, settings.batching, _instances(settings)),
        RequestReader(signature),
        AnswerWriter(settings),
        _steps(folder, settings),
    )


def _steps(folder: str, settings: ModelSettings) -> Tokens | Images | None:
    """What makes the model's inputs of texts or images, where that is declared."""
    serving = settings.serving
    if serving is None:
        return None
    names = {spec.name for spec in settings.outputs}
    if serving.output is not None and serving.output not in names:
        raise Refusal(
            ExitCode.CONFIGURATION, f"{settings}: serving.output names no output of the model"
        )
    if serving.image is not None and serving.task is Task.IMAGE_CLASSIFICATION:
        from .images import Images

        return Images(settings, serving.image)
    if serving.tokenizer is None:
        return None
    from .texts import Tokens

    data = integrity.read(folder, settings, serving.tokenizer.path)
    return Tokens(settings, serving.tokenizer.max_tokens, data)


def _instances(settings: ModelSettings) -> int:
    """Inferences at a time: as many as the session's own threads leave cores for."""
    cores = len(os.sched_getaffinity(0))
    usual = max(1, cores // (settings.intra_op_threads or cores))
    return settings.batching.instances or min(_MOST_INSTANCES, usual)
