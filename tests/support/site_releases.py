"""Small but real releases for a site: this machine's Python with the real runtime and ONNX Runtime.

The big layer is the same in all of them, so an engine takes it once. A release's model multiplies
by `factor`, so that an answer tells which version gave it. `fault` makes one that is bad:

  golden     the model does not give its known answers; the runtime itself finds out and ends
  liar       as golden, but the runtime says that it is ready
  collapses  good for the self-test, gone after some requests of users, again and again
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from built_targets import HARDWARE, build_target, jurisdiction, release_request
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement
from python_image import INTERPRETER, python_files
from small_release import EPOCH, SmallRelease, make_release, optimized_model
from tiny_images import tiny_image

from packager.archive import Entry
from packager.assemble.model_files import MODEL_ROOT, model_entries
from packager.assemble.recipe import FEATURE_WHEELS, SERVER_WHEELS
from packager.assemble.server_config import server_config
from packager.attest.keys import generate_key, open_signer
from packager.content import Compression, ImageSettings, LayerContent
from packager.digest import Digest
from packager.domain.model import Model, ModelFile, OptimizedModel, TensorSpec
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.domain.serving import Serving
from packager.domain.target import DeploymentPlatform, Region
from packager.oci.encryption import encrypt_image, read_recipient
from packager.oci.image import write_image
from packager.oci.layer import LayerStore
from packager.progress import SILENT
from packager.resources import runtime_files
from packager.steps.rendering import render

NAME = "multiply"
REGION = "site/riyadh-lab"
REGISTRY = "registry.example.sa/ml"
COLLAPSE_AFTER = 40
_PACKAGES = (*SERVER_WHEELS, "onnxruntime")
_LEFT_OUT = {"__pycache__", "tests", "test", "transformers", "tools", "quantization"}
_LIAR = "\n\ndef self_test(session, data):\n    return None\n"
_COLLAPSES = f"""
import itertools, os
_counted, _run = itertools.count(1), Session.run
def _dying(self, *arguments, **options):
    if next(_counted) > {COLLAPSE_AFTER}:
        os._exit(70)
    return _run(self, *arguments, **options)
Session.run = _dying
"""


@dataclass(frozen=True)
class SiteTarget:
    """What a release is made for."""

    where: str = "sa"
    title: str = "Saudi Arabia"
    region: str = REGION
    hardware: str = "x86-64-v3"
    platform: DeploymentPlatform = DeploymentPlatform.COMPOSE


def site_release(
    base: Path,
    version: str,
    factor: float,
    *,
    key_file: Path | None = None,
    fault: str = "",
    target: SiteTarget | None = None,
    change=None,
    light: bool = False,
    weights: bytes = b"",
    recipients: Sequence[Path] = (),
    templates: Path | None = None,
    grpc: bool = False,
) -> SmallRelease:
    """Build and seal a release in `base`/release; releases of one parent folder share layers.

    `light` makes an image of some bytes that no engine can run; `weights` lie beside the model, for
    deltas to have something to cut; `recipients` are the keys that its model is encrypted for; with
    `grpc` it speaks gRPC as well; `templates` are a site's own.
    """
    chosen = target or SiteTarget()
    base.mkdir(parents=True, exist_ok=True)
    key_file = key_file or generate_key(base / "site.pem", None).private
    public = open_signer(str(key_file), {}).public_key_pem()

    def build(store: LayerStore, asked: str, registry: str | None):
        request = replace(release_request(NAME, asked), serving=Serving(grpc=grpc))
        region = Region.parse(chosen.region)
        model = _model(base, factor, wrong=fault in ("golden", "liar"))
        built = build_target(
            request,
            jurisdiction(chosen.where, chosen.title, (region,)),
            HARDWARE[chosen.hardware],
            chosen.platform,
            regions=(region,),
            registry=registry or REGISTRY,
            model=model,
        )
        if light:
            image = tiny_image(
                store,
                built.plan.reference,
                model=f"{asked} {factor}".encode() + weights,
                architecture=built.plan.hardware.platform.architecture,
            )
        else:
            image = _image(store, built, request, fault, weights)
        if recipients:
            image = encrypt_image(image, list(map(read_recipient, recipients)), store.blobs)
        return request, (replace(built, image=image),)

    def manifests(folder: Path, built: BuiltTarget, request: ReleaseRequest) -> None:
        render(request, (built,), templates, public, folder, SILENT)

    return make_release(
        base,
        version=version,
        key_file=key_file,
        before_seal=change,
        build=build,
        manifests=manifests,
        layers=base.parent / "layers",
    )


def _model(base: Path, factor: float, wrong: bool) -> OptimizedModel:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "multiply",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file, golden = base / "model.onnx", base / "golden.npz"
    file.write_bytes(made.SerializeToString())
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(golden, **{"input.x": x, "output.y": x * np.float32(factor) + np.float32(wrong)})
    size = file.stat().st_size
    model = Model(
        (ModelFile("model.onnx", file, Digest.of_file(file), size),),
        (TensorSpec("x", "FP32", (-1, 4)),),
        (TensorSpec("y", "FP32", (-1, 4)),),
        17,
        optimized_model().model.precision,
    )
    return replace(optimized_model(), model=model, golden=golden, intra_op_threads=1)


def _image(
    store: LayerStore, built: BuiltTarget, request: ReleaseRequest, fault: str, weights: bytes
):
    more = [Entry.of_bytes(f"{MODEL_ROOT}/weights", weights)] if weights else []
    configuration = server_config(built.plan, request, [built.model])
    entries = [*model_entries(built.model, request.model_name), *more]
    layers = [
        store.write(_layer("system", _system(request.serving.features), Compression.NONE)),
        store.write(_layer("runtime", _runtime(fault))),
        store.write(_layer("model", entries, Compression.NONE)),
        store.write(
            _layer("configuration", [Entry.of_bytes(f"{MODEL_ROOT}/server.json", configuration)])
        ),
    ]
    entrypoint = (INTERPRETER, "-I", "-m", "packager_runtime", "--config")
    settings = ImageSettings(
        entrypoint=(*entrypoint, f"/{MODEL_ROOT}/server.json"),
        environment={"ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"},
        user="65532:65532",
        working_dir=f"/{MODEL_ROOT}",
        ports=("8080/tcp",),
        labels={"org.opencontainers.image.version": request.version},
    )
    platform, reference = built.plan.hardware.platform, built.plan.reference
    return write_image(layers, settings, platform, reference, EPOCH, store.blobs)


def _layer(
    kind: str, entries: list[Entry], compression: Compression = Compression.GZIP
) -> LayerContent:
    made_from = [[entry.path, _digest(entry)] for entry in entries]
    key = Digest.of(json.dumps([kind, made_from]).encode())
    return LayerContent(kind, key, compression, f"packager: {kind}", lambda: entries)


def _digest(entry: Entry) -> str:
    """Of the big layer, whose files are this machine's and do not change, names are enough."""
    if entry.open is None or entry.size > 1 << 16:
        return f"{entry.size}"
    with entry.open() as stream:
        return str(Digest.of(stream.read()))


def _system(features: Collection[str]) -> list[Entry]:
    """The interpreter at its own place, packages where it looks for them without our `.venv`."""
    ours, theirs = sysconfig.get_path("purelib"), _site_packages()
    named = {path: path for path in python_files()}
    more = [wheel for feature in sorted(features) for wheel in FEATURE_WHEELS[feature]]
    more += [name for wheel in more for name in _needs(wheel)]
    for package in (*_PACKAGES, *more):
        for file in importlib.metadata.files(package) or ():
            path = Path(os.path.normpath(file.locate()))
            if path.is_relative_to(ours) and not _LEFT_OUT & set(file.parts):
                named[str(path)] = str(path).replace(ours, theirs, 1)
    libraries = [path for path in named if path.startswith(ours) and ".so" in Path(path).name]
    listed = subprocess.run(["ldd", *libraries], capture_output=True, text=True, check=False)
    for path in re.findall(r"=> (/\S+) \(0x", listed.stdout):
        if not path.startswith(ours):
            named.setdefault(path, path)
    entries = [
        Entry.of_file(
            to.lstrip("/"), Path(os.path.realpath(path)), executable=os.access(path, os.X_OK)
        )
        for path, to in sorted(named.items(), key=lambda pair: pair[1])
    ]
    return [*entries, Entry.symlink(INTERPRETER.lstrip("/"), os.path.realpath(sys.executable))]


def _needs(wheel: str) -> list[str]:
    """The wheels that it asks for, whatever is chosen."""
    asked = map(Requirement, importlib.metadata.requires(wheel) or ())
    return [each.name for each in asked if not each.marker or each.marker.evaluate({"extra": ""})]


def _site_packages() -> str:
    return f"{os.path.realpath(sysconfig.get_path('stdlib'))}/site-packages"


def _runtime(fault: str) -> list[Entry]:
    folder = f"{_site_packages().lstrip('/')}/packager_runtime"
    more = {"golden.py": _LIAR if fault == "liar" else ""}
    more["session.py"] = _COLLAPSES if fault == "collapses" else ""
    return [
        Entry.of_bytes(f"{folder}/{name}", path.read_bytes() + more.get(name, "").encode())
        for name, path in runtime_files()
    ]
