"""A GPU image of small parts: examined once, cut, layered by wheel, and refused by name."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile

import pytest
from tiny_libraries import fat_binary, fat_entry, library
from tiny_packages import deb_of, member, wheel_of

from packager.archive import write_tar
from packager.assemble.device import Device
from packager.assemble.examining import examine
from packager.assemble.fetch import Fetched
from packager.assemble.inputs import Inputs
from packager.assemble.layers import layers
from packager.assemble.slimming import SLIMMED
from packager.digest import Digest
from packager.domain.hardware import Precision
from packager.domain.lock import LockedEnvironment, LockedPackage, LockedWheel
from packager.domain.model import Model, ModelFile, OptimizedModel, TensorSpec
from packager.domain.model_request import ModelName
from packager.errors import LockError, UnavailableError
from packager.progress import SILENT

PROVIDER = library(
    needed=("libcublas.so.13", "libcuda.so.1"),
    device_code=fat_binary([fat_entry(80, b"a" * 4000), fat_entry(89, b"b" * 4000)]),
)
DEVICE = Device("8.9", frozenset({"cublas"}))


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("PACKAGER_CACHE", str(tmp_path / "cache"))
    blobs = {}

    def keep(path):
        digest = Digest.of_file(path)
        blobs[digest] = path
        return digest, path.stat().st_size

    deb = tmp_path / "libc6.deb"
    deb.write_bytes(deb_of([(member("./usr/lib/x86_64-linux-gnu/libc.so.6"), library())]))
    package = LockedPackage("libc6", "1", "amd64", "pool/main/libc6.deb", *keep(deb))
    files = {
        "onnxruntime_gpu-1.28.0-py3-none-any.whl": {
            "onnxruntime/capi/libonnxruntime_providers_cuda.so": PROVIDER
        },
        "nvidia_cublas-13.0-py3-none-any.whl": {
            "nvidia/cu13/lib/libcublas.so.13": library(needed=("libc.so.6",)),
            "nvidia/cu13/lib/libnvblas.so.13": library(needed=("libnowhere.so",)),
        },
    }
    wheels = []
    for name, content in files.items():
        distribution, version = name.split("-")[:2]
        found = keep(wheel_of(tmp_path / name, content))
        wheels.append(LockedWheel(distribution.replace("_", "-"), version, name, *found))
    environment = LockedEnvironment(
        "amd64/onnxruntime-gpu==1.28.0", "amd64", (package,), tuple(wheels)
    )
    return environment, blobs, tmp_path / "cache"


def test_the_record_tells_what_was_checked_and_cut(world):
    environment, blobs, cache = world
    found = examine(environment, Inputs(blobs), DEVICE, cache)
    assert found.record["checked"]["device_code"] == {SLIMMED: "1 of 1"}
    assert found.record["slimmed"]["kept"] == ["sm_89"]
    assert found.record["slimmed"]["zeroed_bytes"] == {"sm_80": 4000}
    assert found.record["gpu_libraries"]["cufft"].startswith("left out")
    assert found.cut is not None


def test_a_known_image_is_not_looked_at_again(world):
    environment, blobs, cache = world
    first = examine(environment, Inputs(blobs), DEVICE, cache)
    assert examine(environment, Inputs({}), DEVICE, cache) == first
    (kept,) = (cache / "examined").iterdir()
    kept.write_text(kept.read_text().replace("sm_89", "sm_90"))
    assert examine(environment, Inputs(blobs), DEVICE, cache) == first, (
        "a spoilt record is made anew"
    )


def test_without_slimming_nothing_is_cut(world):
    environment, blobs, cache = world
    found = examine(environment, Inputs(blobs), dataclasses.replace(DEVICE, slimmed=False), cache)
    assert found.cut is None
    assert "slimmed" not in found.record


def test_a_gpu_that_the_wheel_has_no_code_for_is_refused(world):
    environment, blobs, cache = world
    with pytest.raises(LockError, match=r"no device code for compute capability 9\.0"):
        examine(environment, Inputs(blobs), dataclasses.replace(DEVICE, capability="9.0"), cache)
    assert not list((cache / "examined").glob("*")), "a refusal is not remembered"


def test_the_slimmed_library_is_in_the_provider_layer_with_its_own_digest(world, tmp_path):
    environment, blobs, cache = world
    cut = examine(environment, Inputs(blobs), DEVICE, cache).cut
    graph = tmp_path / "m.onnx"
    graph.write_bytes(b"graph")
    spec = TensorSpec("x", "FP32", (1,))
    file = ModelFile("m.onnx", graph, Digest.of_file(graph), 5)
    model = Model((file,), (spec,), (spec,), 17, Precision.FP32)
    optimized = OptimizedModel(model, model, (), "here", None, 1, ())
    made = layers(environment, Inputs(blobs), [(ModelName("m"), optimized)], b"{}", DEVICE, cut)
    assert [layer.kind for layer in made][2:4] == ["provider", "gpu-cublas"]
    whole = layers(environment, Inputs(blobs), [(ModelName("m"), optimized)], b"{}", DEVICE)
    assert made[2].key != whole[2].key
    buffer = io.BytesIO()
    write_tar(buffer, made[2].entries())
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
        data = archive.extractfile(SLIMMED).read()
        record = next(name for name in archive.getnames() if name.endswith("/RECORD"))
        lines = archive.extractfile(record).read().decode()
    assert len(data) == len(PROVIDER)
    assert b"a" * 100 not in data
    assert cut is not None
    assert Digest.of(data) == cut.digest
    assert "providers_cuda.so,sha256=" in lines
    paths = [entry.path for entry in made[3].entries()]
    assert any(path.endswith("libcublas.so.13") for path in paths)
    assert not any("nvblas" in path for path in paths)


def test_files_are_fetched_only_when_one_is_asked_for(world):
    environment, _, cache = world
    held = cache / "inputs" / "sha256"
    held.mkdir(parents=True)
    fetched = Fetched(environment, cache, mirror_option="http://127.0.0.1:9", progress=SILENT)
    nothing = LockedEnvironment(environment.key, "amd64", (), ())
    assert dict(Fetched(nothing, cache, mirror_option=None, progress=SILENT)) == {}
    with pytest.raises(UnavailableError):
        fetched[environment.packages[0].digest]


def test_own_wheels_are_taken_from_their_folder(world, tmp_path):
    environment, blobs, cache = world
    only = LockedEnvironment(environment.key, "amd64", (), environment.wheels)
    fetched = Fetched(only, cache, mirror_option=None, wheels=tmp_path, progress=SILENT)
    assert {digest: path.read_bytes() for digest, path in fetched.items()} == {
        wheel.digest: blobs[wheel.digest].read_bytes() for wheel in only.wheels
    }


def test_an_own_wheel_with_other_bytes_than_locked_is_refused(world, tmp_path):
    environment, _, cache = world
    (mine := tmp_path / "mine").mkdir()
    for wheel in environment.wheels:
        (mine / wheel.filename).write_bytes(b"other bytes")
    only = LockedEnvironment(environment.key, "amd64", (), environment.wheels)
    with pytest.raises(LockError, match="not the file that was locked"):
        dict(Fetched(only, cache, mirror_option=None, wheels=mine, progress=SILENT))


def test_the_record_is_json(world):
    environment, blobs, cache = world
    record = examine(environment, Inputs(blobs), DEVICE, cache).record
    assert json.loads(json.dumps(record)) == record
