"""Layers of a small synthetic environment: places, order, keys, and the same bytes each time."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile

import pytest
from tiny_packages import deb_of, member, wheel_of

from packager.archive import write_tar
from packager.assemble.inputs import Inputs
from packager.assemble.layers import layers
from packager.assemble.model_files import placed_files
from packager.assemble.server_config import server_config
from packager.assemble.settings import image_settings
from packager.content import Compression
from packager.digest import Digest
from packager.domain.artifact import Platform
from packager.domain.hardware import Confidence, HardwareProfile, Precision, Proof, Wheel
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.lock import LockedEnvironment, LockedPackage, LockedWheel
from packager.domain.model import (
    Candidate,
    Model,
    ModelFile,
    Objective,
    OptimizedModel,
    QualityBudget,
    TensorSpec,
    Verdict,
)
from packager.domain.model_request import ModelName
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass, Region, TargetName
from packager.errors import InputError, LockError

SITE = "usr/local/lib/python3.13/dist-packages"
ORDER = ["system", "python", "provider", "runtime", "model", "configuration"]


class World:
    """Two packages, two wheels and a model on disk, and the lock that names them."""

    def __init__(self, folder):
        self.folder = folder
        self.blobs = {}
        self.packages = [
            self.deb("libc6", {"./lib/libc.so.6": b"c", "./usr/share/man/x": b"", "./bin/sh": b""}),
            self.deb("python3.13-minimal", {"./usr/bin/python3.13": b"py"}),
        ]
        self.wheels = [
            self.wheel(
                "numpy-2-py3-none-any.whl", {"numpy/__init__.py": b"", "ns/__init__.py": b""}
            ),
            self.wheel("orjson-3-py3-none-any.whl", {"orjson.py": b"u", "ns/__init__.py": b""}),
            self.wheel("onnxruntime-1.28.0-py3-none-any.whl", {"onnxruntime/__init__.py": b"o"}),
        ]
        graph, data = folder / "best.onnx", folder / "weights.bin"
        graph.write_bytes(b"graph")
        data.write_bytes(b"w" * 1000)
        golden = folder / "g.npz"
        golden.write_bytes(b"golden")
        spec = TensorSpec("x", "FP32", (-1, 4))
        files = tuple(
            ModelFile(path.name, path, Digest.of_file(path), path.stat().st_size)
            for path in (graph, data)
        )
        model = Model(files, (spec,), (spec,), 17, Precision.FP32)
        chosen = Candidate("source", model.precision, Verdict.CHOSEN, "as it is", ())
        self.model = OptimizedModel(model, model, (chosen,), "here", golden, 3, ())

    def deb(self, name, files):
        sums = "".join(f"{'0' * 32}  {path.removeprefix('./')}\n" for path in files).encode()
        members = [(member(path, mode=0o755), data) for path, data in files.items()]
        path = self.folder / f"{name}.deb"
        path.write_bytes(deb_of(members, name=name, md5sums=sums))
        digest = Digest.of_file(path)
        self.blobs[digest] = path
        return LockedPackage(name, "1", "amd64", f"pool/{name}.deb", digest, path.stat().st_size)

    def wheel(self, filename, files):
        path = wheel_of(self.folder / filename, files)
        digest = Digest.of_file(path)
        self.blobs[digest] = path
        name, version = filename.split("-")[:2]
        return LockedWheel(name, version, filename, digest, path.stat().st_size)

    def layers(self, config=b"{}", name="m"):
        environment = LockedEnvironment(
            "amd64/onnxruntime==1.28.0", "amd64", tuple(self.packages), tuple(self.wheels)
        )
        return layers(environment, Inputs(self.blobs), [(ModelName(name), self.model)], config)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def tars(made):
    out = {}
    for layer in made:
        buffer = io.BytesIO()
        write_tar(buffer, layer.entries())
        out[layer.kind] = buffer.getvalue()
    return out


def names(tar):
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {info.name: info for info in archive}


def test_six_layers_in_order_of_sharing(world):
    made = world.layers()
    assert [layer.kind for layer in made] == ORDER
    assert [layer.kind for layer in made if layer.compression is Compression.NONE] == ["model"]


def test_everything_lies_in_its_place(world):
    found = {kind: names(tar) for kind, tar in tars(world.layers()).items()}
    system = found["system"]
    assert {"usr/lib/libc.so.6", "etc/passwd", "etc/group", "tmp"} <= set(system)
    assert system["lib"].issym()
    assert system["lib"].linkname == "usr/lib"
    assert not any("usr/bin/" in name or "/man" in name for name in system)
    assert {"usr/bin/python3.13", f"{SITE}/numpy/__init__.py"} <= set(found["python"])
    assert f"{SITE}/onnxruntime/__init__.py" in found["provider"]
    assert f"{SITE}/packager_runtime/__init__.py" in found["runtime"]
    folder = "opt/packager/models/m/1"
    assert {f"{folder}/model.onnx", f"{folder}/weights.bin", f"{folder}/golden.npz"} <= set(
        found["model"]
    )
    assert "opt/packager/server.json" in found["configuration"]


def test_status_lists_only_what_is_there(world):
    tar = tars(world.layers())["system"]
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        sums = archive.extractfile("var/lib/dpkg/status.d/libc6.md5sums").read()
        control = archive.extractfile("var/lib/dpkg/status.d/libc6").read()
    assert sums == b"0" * 32 + b"  usr/lib/libc.so.6\n"
    assert control == b"Package: libc6\nVersion: 1\nArchitecture: amd64\n"


def test_the_same_inputs_give_the_same_bytes_and_keys(world, tmp_path):
    first = world.layers()
    (tmp_path / "again").mkdir()
    copy = World(tmp_path / "again")
    copy.packages.reverse()
    copy.wheels.reverse()
    copy.blobs = {digest: world.blobs.get(digest, path) for digest, path in copy.blobs.items()}
    assert tars(first)["system"] == tars(copy.layers())["system"]
    assert tars(first) == tars(world.layers())
    assert [layer.key for layer in first] == [layer.key for layer in world.layers()]


def changed(before, after):
    return {one.kind for one, other in zip(before, after, strict=True) if one.key != other.key}


def test_a_key_changes_with_its_inputs_only(world):
    before = world.layers()
    assert changed(before, world.layers(config=b"{ }")) == {"configuration"}
    assert changed(before, world.layers(name="other")) == {"model"}
    world.wheels[2] = world.wheel("onnxruntime-1.28.1-py3-none-any.whl", {"onnxruntime/x.py": b""})
    world.wheels[2] = dataclasses.replace(world.wheels[2], version="1.28.0")
    assert changed(before, world.layers()) == {"provider"}
    world.packages[0] = world.deb("libc6", {"./lib/libc.so.6": b"new"})
    assert changed(before, world.layers()) == {"provider", "system"}


def test_nothing_is_read_before_it_is_needed(world):
    for path in world.blobs.values():
        path.unlink()
    assert [layer.kind for layer in world.layers()] == ORDER


def test_two_packages_with_different_files_of_one_path_are_refused(world):
    world.packages.append(world.deb("other", {"./usr/lib/libc.so.6": b"another"}))
    with pytest.raises(LockError) as caught:
        tars(world.layers())
    assert caught.value.findings[0].where == "usr/lib/libc.so.6"


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "../x", "a//b"])
def test_external_data_under_a_name_that_cannot_be_used(world, name):
    graph, data = world.model.model.files
    files = (graph, dataclasses.replace(data, name=name))
    model = dataclasses.replace(world.model.model, files=files)
    with pytest.raises(InputError):
        placed_files(dataclasses.replace(world.model, model=model))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 200])
def test_a_model_s_name_must_be_a_folder_s_name(world, name):
    with pytest.raises(InputError):
        world.layers(name=name)


def target(wheel=None):
    hardware = HardwareProfile(
        id="x86-64-v3",
        name="x",
        platform=Platform("linux", "amd64"),
        execution_provider="CPUExecutionProvider",
        wheel=wheel or Wheel("onnxruntime", "1.28.0"),
        precisions={},
        memory_gb=1,
        bandwidth_gb_s=None,
        instructions=frozenset(),
        accelerator=None,
        node_labels={},
        deployment_platforms=frozenset(),
        power_w=None,
        price_class=None,
        export_class=None,
        proven=Proof.NEVER,
        proven_where=None,
        confidence=Confidence.LOW,
        sources=(),
    )
    jurisdiction = Jurisdiction(
        "de", "Germany", ("DE",), (), (), frozenset(), (), {}, (), Confidence.LOW, "2026"
    )
    regions = (Region("site", "b"), Region("aws", "eu-central-1"))
    name = TargetName.parse("de/x86-64-v3/compose")
    return PlannedTarget(name, jurisdiction, hardware, regions, None, "m:1", "here")


def request(folder, license_="Apache-2.0"):
    return ReleaseRequest(
        name="m",
        version="1.4.0",
        model_path=folder,
        model_license=license_,
        samples=None,
        quality=QualityBudget(),
        objective=Objective.LATENCY,
        data_class=DataClass.PERSONAL,
        targets=(),
        registries={},
        sites={},
        registry_countries={},
        signing_keys=(),
        where="here",
    )


def test_server_json_lists_the_files_that_the_model_layer_holds(world):
    data = server_config(target(), request(world.folder), [world.model])
    config = json.loads(data)
    made = tars(world.layers(config=data))
    held = {name for name, info in names(made["model"]).items() if info.isreg()}
    (model,) = config["models"]
    assert {f"opt/packager/{file['path']}" for file in model["files"]} == held
    assert model["path"] == "models/m/1/model.onnx"
    assert model["golden"] == {"path": "models/m/1/golden.npz", "tolerance": 0.001}
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert model["intra_op_threads"] == 3
    assert config["release"] == {"name": "m", "version": "1.4.0", "target": "de/x86-64-v3/compose"}
    assert config["jurisdiction"] == {"id": "de", "regions": ["aws/eu-central-1", "site/b"]}
    assert config["http"]["port"] == 8080


def test_server_json_without_a_golden_test_says_null(world):
    model = dataclasses.replace(world.model, golden=None)
    config = json.loads(server_config(target(), request(world.folder), [model]))
    assert config["models"][0]["golden"] is None
    assert len(config["models"][0]["files"]) == 2


def test_settings_of_a_cpu_image(tmp_path):
    settings = image_settings(target(), request(tmp_path))
    assert settings.entrypoint[:5] == ("/usr/bin/python3.13", "-I", "-B", "-m", "packager_runtime")
    assert settings.user == "65532:65532"
    assert settings.environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert "LD_LIBRARY_PATH" not in settings.environment
    assert settings.labels["dev.packager.regions"] == "aws/eu-central-1,site/b"
    assert settings.labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    unknown = image_settings(target(), request(tmp_path, license_=None))
    assert "org.opencontainers.image.licenses" not in unknown.labels


def test_a_cuda_image_finds_its_libraries_and_claims_no_device(tmp_path):
    settings = image_settings(target(Wheel("onnxruntime-gpu", "1.26.0")), request(tmp_path))
    assert f"/{SITE}/nvidia/cudnn/lib" in settings.environment["LD_LIBRARY_PATH"].split(":")
    assert "NVIDIA_VISIBLE_DEVICES" not in settings.environment
