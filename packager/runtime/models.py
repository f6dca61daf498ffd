"""The models in service: loading them one check after the other, and finding them by name.

`load_all` is the order of suspicion: files, execution provider, signature, golden answers. Only
when all of it holds for every model does the server become ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import body, golden, integrity, protocol, responses
from .configuration import ModelSettings
from .errors import RequestError, quoted
from .session import Session, open_session


@dataclass(frozen=True, slots=True)
class Model:
    """A model in service."""

    settings: ModelSettings
    session: Session

    def infer(
        self, packed: bytes, encoding: bytes, header_length: int | None, limit: int
    ) -> tuple[bytes, int | None]:
        """From the body of a request to the body of its answer; runs in a worker thread.

        Returns the body and the length of its JSON part where binary tensors follow it. Raises
        RequestError.
        """
        data = memoryview(body.unpack(packed, encoding, limit))
        signature = protocol.Signature(self.settings.inputs, self.settings.outputs)
        request = protocol.parse_request(signature, data, header_length)
        wanted = [output.spec.name for output in request.outputs]
        results = self.session.run(request.inputs, wanted)
        return responses.render_response(
            self.settings.name, self.settings.version, request, results
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


@dataclass(frozen=True, slots=True)
class Models:
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


def load_all(folder: Path, declared: tuple[ModelSettings, ...]) -> Models:
    """Load and check every model; raises Refusal at the first thing that is not as declared."""
    by_name: dict[str, dict[str, Model]] = {}
    for settings in declared:
        by_name.setdefault(settings.name, {})[settings.version] = _load(folder, settings)
    return Models(by_name)


def _load(folder: Path, settings: ModelSettings) -> Model:
    contents = integrity.verified(folder, settings)
    session = open_session(folder, settings, contents[settings.path])
    if settings.golden:
        golden.self_test(session, contents[settings.golden.path])
    return Model(settings, session)
