"""The layers of an image, most shared first: what each holds, and the key that names its content.

system · python · provider · GPU libraries · runtime · models · configuration. A key is the digest
of everything that the bytes are made from: locked digests, the rules of this package, the runtime's
files. So two targets share a layer when they share its inputs, and a known layer need not be read
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from packager.archive import Entry
from packager.assemble.device import Device
from packager.assemble.gpu_libraries import is_left_out
from packager.assemble.inputs import Inputs
from packager.assemble.model_files import MODEL_ROOT, model_entries, model_inputs
from packager.assemble.pruning import is_dropped, rules_digest
from packager.assemble.recipe import RULES_VERSION, SITE_PACKAGES, parse_key
from packager.assemble.slimming import Cut
from packager.assemble.system_files import status_entries, system_entries
from packager.assemble.wheel_archive import read_wheel
from packager.canonical import dumps
from packager.content import Compression, LayerContent
from packager.digest import CHUNK, Digest
from packager.domain.lock import LockedEnvironment, LockedPackage, LockedWheel
from packager.domain.model import OptimizedModel
from packager.domain.model_request import ModelName
from packager.errors import LockError
from packager.resources import runtime_files

RUNTIME_ROOT = f"{SITE_PACKAGES}/packager_runtime"
CPU = Device()
_WEIGHTS = "model"
_FAMILY_NAME = re.compile(r"^nvidia-(cuda-)?|-cu\d+$")
_PYTHON_PACKAGE = re.compile(r"(lib)?python3\b.*")


def layers(
    environment: LockedEnvironment,
    inputs: Inputs,
    models: Sequence[tuple[ModelName, OptimizedModel]],
    server_config: bytes,
    device: Device = CPU,
    cut: Cut | None = None,
    compression: Compression = Compression.GZIP,
) -> tuple[LayerContent, ...]:
    """The layers of one image, made of `inputs`.

    Each model is a layer of its own, so that a change of one leaves the others. `compression` is of
    all layers but theirs: weights hardly compress.

    Each wheel with GPU libraries is a layer of its own, so that images of models with other needs
    share the rest. `cut` is what is left out of the provider's device code.

    Reading the entries raises LockError for a package or wheel that is malformed; entries read
    their files when they are opened, so these must stay until the layers are written.
    """
    system = [one for one in environment.packages if not _PYTHON_PACKAGE.fullmatch(one.name)]
    python = [one for one in environment.packages if _PYTHON_PACKAGE.fullmatch(one.name)]
    provider = [one for one in environment.wheels if _is_provider(one, environment)]
    gpu = [one for one in environment.wheels if _is_gpu_library(one)]
    server = [one for one in environment.wheels if one not in provider and one not in gpu]
    runtime = runtime_files()
    made = (
        _layer(
            "system",
            "Debian packages, extracted",
            [environment.architecture, *_digests(system)],
            lambda: [*system_entries(environment.architecture), *_unpacked(system, inputs)],
        ),
        _layer(
            "python",
            "Python and the server's wheels",
            [environment.architecture, *_digests(python), *_digests(server)],
            lambda: [*_unpacked(python, inputs), *_installed(server, inputs)],
        ),
        _layer(
            "provider",
            "ONNX Runtime with its execution provider",
            [*_digests(provider), cut and str(cut.digest), *(["genai"] if device.genai else [])],
            lambda: _installed(provider, inputs, cut=cut, genai=device.genai),
        ),
        *(_gpu_layer(wheel, inputs, device) for wheel in gpu),
        _layer(
            "runtime",
            "the inference server",
            [[name, str(Digest.of_file(file))] for name, file in runtime],
            lambda: [Entry.of_file(f"{RUNTIME_ROOT}/{name}", file) for name, file in runtime],
        ),
        *(_model_layer(name, model) for name, model in models),
        _layer(
            "configuration",
            "the server's configuration",
            [str(Digest.of(server_config))],
            lambda: [Entry.of_bytes(f"{MODEL_ROOT}/server.json", server_config)],
        ),
    )
    return tuple(
        one if one.kind == _WEIGHTS else replace(one, compression=compression) for one in made
    )


def foundation(environment: LockedEnvironment, inputs: Inputs, device: Device) -> list[Entry]:
    """Everything of an image that comes from packages and wheels, before anything is cut."""
    return [
        *system_entries(environment.architecture),
        *_unpacked(environment.packages, inputs),
        *_installed(environment.wheels, inputs, device.libraries, genai=device.genai),
    ]


def _gpu_layer(wheel: LockedWheel, inputs: Inputs, device: Device) -> LayerContent:
    return _layer(
        f"gpu-{_FAMILY_NAME.sub('', wheel.name)}",
        f"{wheel.name} {wheel.version}",
        [str(wheel.digest), sorted(device.libraries)],
        lambda: _installed([wheel], inputs, device.libraries),
    )


def _model_layer(name: ModelName, model: OptimizedModel) -> LayerContent:
    return _layer(
        _WEIGHTS,
        f"the model {name}",
        model_inputs(model, name),
        lambda: model_entries(model, name),
        Compression.NONE,
    )


def _layer(
    kind: str,
    created_by: str,
    inputs: Iterable[object],
    entries: Callable[[], list[Entry]],
    compression: Compression = Compression.GZIP,
) -> LayerContent:
    made_from = [RULES_VERSION, str(rules_digest()), kind, *inputs]
    key = Digest.of(dumps(made_from))
    return LayerContent(
        kind, key, compression, f"packager: {created_by}", lambda: _once(entries(), kind)
    )


def _is_provider(wheel: LockedWheel, environment: LockedEnvironment) -> bool:
    return wheel.name == parse_key(environment.key)[1].name


def _is_gpu_library(wheel: LockedWheel) -> bool:
    return wheel.name.startswith("nvidia-")


def _digests(entries: Iterable[LockedPackage | LockedWheel]) -> list[str]:
    return [str(entry.digest) for entry in sorted(entries, key=lambda entry: entry.digest)]


def _unpacked(packages: Sequence[LockedPackage], inputs: Inputs) -> list[Entry]:
    """The packages' files and their records in `status.d`, without what is of no use."""
    entries = []
    for package, archive in zip(packages, inputs.archives(packages), strict=True):
        kept = [entry for entry in archive.entries if not is_dropped(entry.path)]
        entries += [*kept, *status_entries(package, archive, kept)]
    return entries


def _installed(
    wheels: Iterable[LockedWheel],
    inputs: Inputs,
    libraries: Collection[str] = (),
    cut: Cut | None = None,
    *,
    genai: bool = False,
) -> list[Entry]:
    def dropped(path: str) -> bool:
        return is_dropped(path, genai=genai) or is_left_out(path, libraries)

    def changed(entry: Entry) -> tuple[Entry, Digest] | None:
        return cut.applied(entry) if cut else None

    return [
        entry
        for wheel in wheels
        for entry in read_wheel(inputs.wheel(wheel), wheel.filename, dropped, changed)
    ]


def _once(entries: list[Entry], kind: str) -> list[Entry]:
    """The entries, each path once.

    Wheels of one namespace package each bring the same small file (`nvidia/__init__.py`). Raises
    LockError when two packages bring different files of one path.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        first = found.setdefault(entry.path, entry)
        if first is not entry and not _same(first, entry):
            raise LockError(f"two packages bring one file of the {kind} layer", where=entry.path)
    return list(found.values())


def _same(first: Entry, second: Entry) -> bool:
    if (first.kind, first.size, first.target) != (second.kind, second.size, second.target):
        return False
    if not (first.open and second.open):
        return True
    with first.open() as one, second.open() as other:
        return Digest.of_chunks(_chunks(one)) == Digest.of_chunks(_chunks(other))


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: stream.read(CHUNK), b"")
