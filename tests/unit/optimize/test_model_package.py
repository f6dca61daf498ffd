"""Model packages of ONNX Runtime: written, read back, held to ONNX Runtime itself, and hostile."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from engines import missing

from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Candidate, OptimizedModel, Verdict
from packager.errors import InputError
from packager.optimize.exporting import onnx_source
from packager.optimize.model_package import package_of, packaged_graph, variants
from packager.optimize.packaging import write_package
from packager.optimize.reading import read_model

Saver = Callable[..., Path]


def _optimized(path: Path, hardware: str) -> OptimizedModel:
    model = read_model(path)
    row = Candidate("source", Precision.FP32, Verdict.CHOSEN, "as it came", ())
    return OptimizedModel(model, model, (row,), "not measured", None, 1, (), hardware)


@pytest.fixture
def package(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, gpu: HardwareProfile, tmp_path: Path
) -> Path:
    """One component with a variant for the CPU and one for CUDA, both of the same model."""
    path = saved(mlp)
    profiles = {cpu.id: cpu, gpu.id: replace(gpu, accelerator="nvidia")}
    models = {name: _optimized(path, name) for name in profiles}
    write_package(models, profiles, "mlp", "1.0", tmp_path / "mlp.ortpackage")
    return tmp_path / "mlp.ortpackage"


def test_what_is_written_is_read_back(package: Path, saved: Saver, mlp: onnx.ModelProto) -> None:
    assert [str(one) for one in variants(package)] == ["model/nvidia-l4", "model/x86-64-v4"]
    assert len(list((package / "shared_assets").iterdir())) == 1
    source = read_model(saved(mlp))
    for wanted in ("", "#x86-64-v4", "#model/nvidia-l4"):
        path = Path(f"{package}{wanted}")
        assert package_of(path) is not None
        assert read_model(onnx_source(path, package)).digest == source.digest


def test_two_models_for_one_provider_are_two_components(
    mlp: onnx.ModelProto, cnn: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    other = replace(cpu, id="arm64-v8")
    models = {
        cpu.id: _optimized(saved(mlp, "a/model.onnx"), cpu.id),
        other.id: _optimized(saved(cnn, "b/model.onnx"), other.id),
    }
    root = tmp_path / "two.ortpackage"
    write_package(models, {cpu.id: cpu, other.id: other}, "two", "1.0", root)
    assert [str(one) for one in variants(root)] == ["arm64-v8/arm64-v8", "x86-64-v4/x86-64-v4"]
    with pytest.raises(InputError) as caught:
        packaged_graph(root, "")
    assert caught.value.findings[0].next_step == "name it: two.ortpackage#arm64-v8/arm64-v8"


def test_weights_beside_the_graph_come_along(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(
        mlp, "big/model.onnx", save_as_external_data=True, location="model.data", size_threshold=0
    )
    root = tmp_path / "big.ortpackage"
    write_package({cpu.id: _optimized(path, cpu.id)}, {cpu.id: cpu}, "big", "1.0", root)
    assert read_model(packaged_graph(root, "")).digest == read_model(path).digest


def test_onnx_runtime_itself_opens_and_runs_it(package: Path) -> None:
    python = os.environ.get("PACKAGER_ORTPACKAGE_PYTHON")
    if not python:
        missing("PACKAGER_ORTPACKAGE_PYTHON names no Python with onnxruntime 1.29 or newer")
        raise AssertionError("missing() skips or fails")
    script = """
import json, sys
import numpy as np, onnxruntime as ort
context = ort.ModelPackageContext(sys.argv[1])
chosen = context.select_component("model", ort.ModelPackageOptions(ort.SessionOptions()))
answer = chosen.create_session().run(None, {"x": np.ones((2, 16), np.float32)})[0]
ort.ModelPackage.open(sys.argv[1]).close()
names = context.get_variant_names("model")
variants = {name: context.get_variant_ep_name("model", name) for name in names}
asset = ort.ModelPackage.compute_directory_hash(sys.argv[2])
print(json.dumps([variants, chosen.get_selected_variant_name(), list(answer.shape), asset]))
"""
    (asset,) = (package / "shared_assets").iterdir()
    done = subprocess.run(
        [python, "-c", script, str(package), str(asset)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    providers, chosen, shape, digest = json.loads(done.stdout)
    assert providers == {
        "nvidia-l4": "CUDAExecutionProvider",
        "x86-64-v4": "CPUExecutionProvider",
    }
    assert (chosen, shape) == ("x86-64-v4", [2, 10])
    assert digest == asset.name.replace("-", ":")


def _inline(package: Path, **variant: Any) -> None:
    """The package rewritten with one variant in the manifest."""
    body = {"components": {"model": {"variants": {"cpu": variant}}}, "schema_version": "1.0"}
    (package / "manifest.json").write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"variant_directory": "../out"}, "the path '../out'"),
        ({"variant_directory": "/etc"}, "the path '/etc'"),
        ({"variant_directory": "none"}, "no 'none'"),
        ({"variant_directory": "away"}, "leads out of the package"),
        ({"executor_info": {"ort": {"model_file": "../../x.onnx"}}}, "the path"),
        ({"executor_info": {"ort": {"model_file": "sha256:12/x"}}}, "the reference"),
        ({"executor_info": {"ort": {"model_file": f"sha256:{'0' * 64}/x"}}}, "no 'sha256-0000"),
        ({"executor_info": {"ort": {}}}, "names no model_file"),
        ({"executor_info": {"ort": "ort_info.json"}}, "no 'ort_info.json'"),
        ({"executor_info": []}, "list where an object belongs"),
        ({"compatibility_string": "sm_90", "ep": "CUDAExecutionProvider"}, "is compiled for"),
    ],
)
def test_a_hostile_variant_is_refused(
    variant: dict[str, Any], said: str, package: Path, tmp_path: Path
) -> None:
    (package / "cpu").mkdir()
    (package / "away").symlink_to(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"")
    _inline(package, **variant)
    with pytest.raises(InputError) as caught:
        packaged_graph(package, "")
    assert said in (caught.value.findings[0].got or "")


@pytest.mark.parametrize(
    "change",
    [
        {"layout": "installed"},
        {"schema_version": "2.0"},
        {"configs_dir": "x"},
        {"components": {}},
        {"components": {"model": "none"}},
        {"components": []},
    ],
    ids=str,
)
def test_a_manifest_that_onnx_runtime_refuses_is_refused(
    change: dict[str, Any], package: Path
) -> None:
    manifest = json.loads((package / "manifest.json").read_text())
    (package / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(InputError):
        variants(package)


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b'"x"', b"\xff\xfe"], ids=range(4))
def test_a_manifest_that_is_no_object_is_refused(data: bytes, package: Path) -> None:
    (package / "manifest.json").write_bytes(data)
    with pytest.raises(InputError):
        variants(package)


def test_a_changed_shared_asset_is_refused(package: Path) -> None:
    (asset,) = (package / "shared_assets").iterdir()
    (asset / "added").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        packaged_graph(package, "x86-64-v4")
    assert "the content of sha256:" in (caught.value.findings[0].got or "")
