"""`server.json`, read strictly into frozen values: the contract between packager and runtime.

Unknown keys, missing keys, wrong types, duplicate keys and paths that leave the folder are refused
with the path of the key, because a setting that is silently ignored is a setting that nobody has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from .access import AccessSettings, read_access
from .batching_settings import Batching, read_batching
from .datatypes import DATATYPES, TensorSpec
from .declared_files import DeclaredFile, Golden, read_files
from .errors import ExitCode, Refusal
from .http_settings import HttpSettings, read_http
from .reading import Reader, parse
from .records_settings import RecordsSettings, read_records
from .serving_settings import Serving, read_serving

if TYPE_CHECKING:
    from .generative.settings import GenerativeSettings

API_VERSION = "packager.runtime/v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_REGION = re.compile(r"[^/\s]+/[^/\s]+")
_LIBRARY = re.compile(r"lib[A-Za-z0-9_.+-]{1,100}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_RANK = 16


class Release(NamedTuple):
    """What this image is: `target` is jurisdiction/hardware/platform."""

    name: str
    version: str
    target: str


class Jurisdiction(NamedTuple):
    """Where this image may run: regions as `provider/region`."""

    id: str
    regions: tuple[str, ...]


class Origin(NamedTuple):
    """What the model was made of and what it is, as digests of all files: `sha256:…`."""

    source: str
    model: str


class ModelSettings(NamedTuple):
    """One model and everything that is claimed of it; 0 threads lets ONNX Runtime choose.

    `libraries` are the shared libraries that must open before the model is loaded, by soname.
    """

    name: str
    version: str
    path: str
    files: tuple[DeclaredFile, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    execution_provider: str
    provider_options: Mapping[str, str]
    intra_op_threads: int
    golden: Golden | None
    libraries: tuple[str, ...] = ()
    batching: Batching = Batching()
    serving: Serving | None = None
    origin: Origin | None = None

    def __str__(self) -> str:
        return f"model {self.name} version {self.version}"

    @property
    def takes_rows(self) -> bool:
        """Whether the first dimension of every input and output is free, as a batch's is."""
        return all(spec.shape[:1] == (-1,) for spec in self.inputs + self.outputs)


class Configuration(NamedTuple):
    """All of server.json. `folder` is where it lies; every path is relative to that."""

    folder: str
    release: Release
    jurisdiction: Jurisdiction
    models: tuple[ModelSettings, ...]
    http: HttpSettings
    access: AccessSettings = AccessSettings()
    records: RecordsSettings = RecordsSettings()
    generative: tuple[GenerativeSettings, ...] = ()
    document: str = "server.json"
    grpc_port: int | None = None

    def require_region(self, region: str | None) -> None:
        """Raises Refusal when the site says where it is, and that is not where we may run."""
        if region is not None and region not in self.jurisdiction.regions:
            raise _refusal(
                f"region {region!r} (PACKAGER_REGION) is not one that jurisdiction"
                f" {self.jurisdiction.id!r} allows: {', '.join(self.jurisdiction.regions)}"
            )


def load(path: str | os.PathLike[str]) -> Configuration:
    """Read and check server.json; raises Refusal with the path of the first key that is wrong."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError as error:
        raise _refusal(f"cannot read {path}: {error.strerror}") from error
    name = os.path.basename(path)
    root = Reader(parse(data, name), name)
    root.only(
        *("apiVersion", "release", "jurisdiction", "models", "http"),
        optional=("access", "records", "generative", "grpc"),
    )
    if root.text("apiVersion") != API_VERSION:
        raise root.at("apiVersion").wrong(f"must be {API_VERSION!r}")
    generative = _generative(root)
    return Configuration(
        folder=os.path.dirname(os.path.realpath(path)),
        release=_release(root.at("release")),
        jurisdiction=_jurisdiction(root.at("jurisdiction")),
        models=_models(root, bool(generative)),
        http=read_http(root.at("http")),
        access=read_access(root.at("access") if root.has("access") else None, os.environ),
        records=read_records(root),
        generative=generative,
        document=name,
        grpc_port=_grpc_port(root),
    )


def _generative(root: Reader) -> tuple[GenerativeSettings, ...]:
    if not root.has("generative"):
        return ()
    # Loaded when it is asked for: a server of other models starts without it.
    from .generative.settings import read_generative

    return read_generative(root)


def _grpc_port(root: Reader) -> int | None:
    if not root.has("grpc"):
        return None
    reader = root.at("grpc")
    reader.only("port")
    return reader.integer("port", 0, 65535)


def _release(reader: Reader) -> Release:
    reader.only("name", "version", "target")
    return Release(reader.text("name"), reader.text("version"), reader.text("target"))


def _jurisdiction(reader: Reader) -> Jurisdiction:
    reader.only("id", "regions")
    regions = tuple(
        entry.matching(_REGION, "provider/region") for entry in reader.entries("regions")
    )
    return Jurisdiction(reader.text("id"), regions)


def _models(root: Reader, others: bool) -> tuple[ModelSettings, ...]:
    models = tuple(_model(entry) for entry in root.entries("models"))
    if not models and not others:
        raise root.at("models").wrong("must name at least one model")
    if len({(model.name, model.version) for model in models}) != len(models):
        raise root.at("models").wrong("names one model and version twice")
    return models


def _model(reader: Reader) -> ModelSettings:
    reader.only(
        *("name", "version", "path", "files", "inputs", "outputs"),
        *("execution_provider", "provider_options", "intra_op_threads", "golden"),
        optional=("libraries", "batching", "serving", "origin"),
    )
    files = read_files(reader)
    model = ModelSettings(
        name=reader.at("name").matching(_NAME, "letters, digits, '.', '_' and '-'"),
        version=reader.at("version").matching(_VERSION, "a whole number as text, such as '1'"),
        path=reader.at("path").relative_path(),
        files=files,
        inputs=_tensors(reader, "inputs"),
        outputs=_tensors(reader, "outputs"),
        execution_provider=reader.text("execution_provider"),
        provider_options=_provider_options(reader.at("provider_options")),
        intra_op_threads=reader.integer("intra_op_threads", 0, 1024),
        golden=_golden(reader.at("golden")),
        libraries=_libraries(reader),
        batching=read_batching(reader),
        serving=read_serving(reader),
        origin=_origin(reader),
    )
    listed = [file.path for file in files]
    if model.path not in listed:
        raise reader.at("path").wrong("is not among the files, so its digest is unknown")
    if model.batching.max_batch_size and not model.takes_rows:
        raise reader.at("batching").wrong("needs a free first dimension on every input and output")
    tokenizer = model.serving.tokenizer if model.serving else None
    if tokenizer and tokenizer.path not in listed:
        raise reader.at("serving.tokenizer.path").wrong("is not among the files")
    if model.golden and model.golden.path not in listed:
        raise reader.at("golden.path").wrong("is not among the files, so its digest is unknown")
    return model


def _tensors(model: Reader, key: str) -> tuple[TensorSpec, ...]:
    tensors = tuple(_tensor(entry) for entry in model.entries(key))
    if not tensors:
        raise model.at(key).wrong("must name at least one tensor")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise model.at(key).wrong("names one tensor twice")
    return tensors


def _tensor(reader: Reader) -> TensorSpec:
    reader.only("name", "datatype", "shape")
    datatype = DATATYPES.get(reader.text("datatype"))
    if datatype is None:
        raise reader.at("datatype").wrong(f"must be one of {', '.join(DATATYPES)}")
    shape = tuple(entry.as_integer(-1, 1 << 40) for entry in reader.entries("shape"))
    if len(shape) > _MAX_RANK:
        raise reader.at("shape").wrong(f"must have at most {_MAX_RANK} dimensions")
    return TensorSpec(reader.text("name"), datatype, shape)


def _provider_options(reader: Reader) -> Mapping[str, str]:
    return {key: reader.text(key) for key in reader.names()}


def _libraries(model: Reader) -> tuple[str, ...]:
    if "libraries" not in set(model.names()):
        return ()
    return tuple(
        entry.matching(_LIBRARY, "the file name of a shared library")
        for entry in model.entries("libraries")
    )


def _origin(model: Reader) -> Origin | None:
    if not model.has("origin"):
        return None
    reader = model.at("origin")
    reader.only("source", "model")
    return Origin(
        reader.at("source").matching(_DIGEST, "sha256: and 64 hexadecimal digits"),
        reader.at("model").matching(_DIGEST, "sha256: and 64 hexadecimal digits"),
    )


def _golden(reader: Reader) -> Golden | None:
    if reader.value is None:
        return None
    reader.only("path", "tolerance")
    return Golden(reader.at("path").relative_path(), reader.number("tolerance", 0, 1))


def _refusal(message: str) -> Refusal:
    return Refusal(ExitCode.CONFIGURATION, message)
