"""JSON requests that say the same as an earlier one, but for their numbers.

A client sends the same document again and again with other numbers in it. Where the bytes around
the numbers are those of a request that was read in full, and what stands between them is a list by
JSON's grammar, the document is that one with other lists in it: no duplicate keys, no other shape,
no other wish. So only the lists are read. Remembered are a few such frames, never a number and
never a request with an `id`, which may be about a person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from .datatypes import Array, TensorSpec
from .protocol import InferenceRequest, RequestedOutput, Schedule
from .tensors import from_json

_LIST = re.compile(rb"\[[-+0-9.,eE\s\[\]]+\]")
_MOST_LAYOUTS = 8
_MOST_INPUTS = 16
_LONGEST_FRAME = 4096
_TRIES = 64


class TextLayout(NamedTuple):
    """`frame` is what stands before, between and after the lists; `lists` the inputs they are."""

    frame: tuple[bytes, ...]
    lists: tuple[tuple[TensorSpec, tuple[int, ...]], ...]
    outputs: tuple[RequestedOutput, ...]
    schedule: Schedule

    def read(self, body: bytes) -> InferenceRequest | None:
        """The request, None where the body is another; raises RequestError (400) as for any."""
        frame = self.frame
        first = len(frame[0])
        if not body.startswith(frame[0]) or not body.endswith(frame[-1]):
            return None
        inputs: dict[str, Array] = {}
        final = len(self.lists)
        for number, (spec, shape) in enumerate(self.lists, 1):
            after = frame[number]
            last = len(body) - len(after) if number == final else body.find(after, first)
            if last < first:
                return None
            try:
                numbers = orjson.loads(body[first:last])
            except ValueError:
                return None
            if type(numbers) is not list:
                return None
            inputs[spec.name] = from_json(spec.name, spec.datatype, shape, numbers)
            first = last + len(after)
        return InferenceRequest(None, inputs, self.outputs, self.schedule)


class TextLayouts:
    """The layouts of one model, found in requests that were read in full."""

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self._specs = specs
        self._layouts: list[TextLayout] = []
        self._unlike = 0

    def read(self, body: bytes) -> InferenceRequest | None:
        """As `TextLayout.read`, by whichever layout fits."""
        for layout in self._layouts:
            request = layout.read(body)
            if request is not None:
                return request
        return None

    def learn(self, body: bytes, request: InferenceRequest) -> None:
        """Remember how a request lies that was read in full; each of the first, then now and then,
        so that clients that are all different cost nothing."""
        self._unlike += 1
        if self._unlike > _TRIES and self._unlike % _TRIES:
            return
        if request.id is not None or not 0 < len(request.inputs) <= _MOST_INPUTS:
            return
        found = _lists_of(body)
        if found is None or len(found) != len(request.inputs):
            return
        ends = [0, *(end for place in found.values() for end in place), len(body)]
        frame = tuple(body[ends[i] : ends[i + 1]] for i in range(0, len(ends), 2))
        if sum(map(len, frame)) > _LONGEST_FRAME or not all(frame):
            return
        lists = tuple((self._specs[name], request.inputs[name].shape) for name in found)
        layout = TextLayout(frame, lists, request.outputs, request.schedule)
        self._layouts = [layout, *self._layouts[: _MOST_LAYOUTS - 1]]


def _lists_of(body: bytes) -> dict[str, tuple[int, int]] | None:
    """Where the numbers of each input lie, in the order of the document; None when unclear.

    A list within a text looks like one of numbers. So each is replaced by a number of its own: only
    what comes back as the data of an input is one.
    """
    places = [found.span() for found in _LIST.finditer(body)]
    marked = _document(body, dict(enumerate(places)))
    if marked is None:
        return None
    taken: dict[str, int] = {}
    for entry in marked["inputs"]:
        name, mark = entry.get("name"), entry.get("data")
        if type(name) is not str or type(mark) is not int or not 0 <= mark < len(places):
            return None
        taken[name] = mark
    marks = list(taken.values())
    if marks != sorted(set(marks)):
        return None
    # Once more with the lists of data alone: nothing else may have been replaced.
    again = _document(body, {mark: places[mark] for mark in marks})
    if again is None or [entry.get("data") for entry in again["inputs"]] != marks:
        return None
    return {name: places[mark] for name, mark in taken.items()}


def _document(body: bytes, marks: Mapping[int, tuple[int, int]]) -> dict[str, Any] | None:
    """The body with the places replaced by their numbers, where that is a request."""
    parts, last = [], 0
    for mark, (begin, end) in marks.items():
        parts += [body[last:begin], b"%d" % mark]
        last = end
    try:
        document = orjson.loads(b"".join([*parts, body[last:]]))
    except ValueError:
        return None
    found = isinstance(document, dict) and isinstance(document.get("inputs"), list)
    return document if found and all(type(e) is dict for e in document["inputs"]) else None
