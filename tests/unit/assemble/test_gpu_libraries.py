"""Which of NVIDIA's libraries a model's operators ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packager.assemble.gpu_libraries import (
    families,
    is_left_out,
    library_folders,
    missing_families,
    needs_cudnn,
    opened_libraries,
    shipped,
)
from packager.digest import Digest
from packager.domain.hardware import Wheel
from packager.domain.lock import LockedEnvironment, LockedWheel

LIB = "usr/local/lib/python3.13/dist-packages/nvidia/cu13/lib"
LINKED = {"cublas", "cudart", "curand"}
TRANSFORMER = {"MatMul", "Softmax", "LayerNormalization", "Add", "Gelu", "Attention", "Gather"}


def environment(version="1.28.0", wheel="onnxruntime-gpu"):
    names = ["numpy", wheel, "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cufft"]
    wheels = tuple(
        LockedWheel(name, "1", f"{name}-1-py3-none-any.whl", Digest.of(name.encode()), 1)
        for name in names
    )
    return LockedEnvironment(f"amd64/{wheel}=={version}", "amd64", (), wheels)


@pytest.mark.parametrize(
    ("operators", "more"),
    [
        (TRANSFORMER, set()),
        (TRANSFORMER | {"Conv"}, {"cudnn", "nvrtc"}),
        ({"ConvTranspose"}, {"cudnn", "nvrtc"}),
        ({"GlobalAveragePool"}, {"cudnn", "nvrtc"}),
        ({"ReduceMean"}, {"cudnn", "nvrtc"}),
        ({"InstanceNormalization"}, {"cudnn", "nvrtc"}),
        ({"LSTM"}, {"cudnn", "cudnn-adv", "nvrtc"}),
        ({"Rfft", "MatMul"}, {"cufft"}),
        (set(), {"cudnn", "cudnn-adv", "nvrtc", "cufft"}),
    ],
)
def test_operators_decide(operators, more):
    assert families(environment(), operators) == LINKED | more
    assert needs_cudnn(operators) is ("cudnn" in more)


def test_older_wheels_link_them_all_the_same():
    assert families(environment("1.26.0"), TRANSFORMER) == LINKED | {"cudnn", "cufft", "nvrtc"}


def test_a_cpu_image_has_none():
    assert families(environment("1.28.0", "onnxruntime"), {"Conv"}) == frozenset()


def test_wheels_that_nothing_asks_for_are_not_shipped():
    names = [wheel.name for wheel in shipped(environment(), TRANSFORMER).wheels]
    assert names == ["numpy", "onnxruntime-gpu", "nvidia-cublas"]
    assert shipped(environment(), set()) == environment()


def test_libraries_are_in_whole_or_not_at_all():
    chosen = {"cublas", "cudnn"}
    assert not is_left_out(f"{LIB}/libcublasLt.so.13", chosen)
    assert is_left_out(f"{LIB}/libnvblas.so.13", chosen)
    assert not is_left_out(f"{LIB}/libcudnn_engines_precompiled.so.9", chosen)
    assert is_left_out(f"{LIB}/libcudnn_adv.so.9", chosen)
    assert not is_left_out(f"{LIB}/libcudnn_adv.so.9", {"cudnn-adv"})
    assert is_left_out(f"{LIB}/libnvrtc.alt.so.13", {"nvrtc"})
    assert not is_left_out(f"{LIB}/libnvrtc-builtins.so.13.0", {"nvrtc"})
    assert not is_left_out("usr/lib/libz.so.1", chosen)
    assert not is_left_out(f"{LIB}/../cublas-13.dist-info/License.txt", chosen)


def test_a_chosen_family_that_is_not_there_is_named():
    findings = missing_families({"cublas", "nvrtc"}, [f"{LIB}/libcublas.so.13"])
    assert [finding.what.split(":")[0] for finding in findings] == [
        "the image lacks the libraries of nvrtc"
    ]


def test_folders_follow_the_cuda_of_the_wheel():
    assert library_folders("amd64/onnxruntime-gpu==1.28.0")[0] == LIB
    assert any(
        path.endswith("nvidia/cublas/lib") for path in library_folders(environment("1.26.0").key)
    )
    assert library_folders("amd64/onnxruntime==1.28.0") == ()


def test_what_must_open_at_the_site_is_what_the_image_carries():
    conv = opened_libraries(Wheel("onnxruntime-gpu", "1.28.0"), {"Conv"})
    assert conv[0] == "libcuda.so.1"
    assert {"libcublas.so.13", "libcudnn.so.9", "libnvrtc.so.13"} <= set(conv)
    linked = opened_libraries(Wheel("onnxruntime-gpu", "1.28.0"), TRANSFORMER)
    assert not [name for name in linked if "cudnn" in name or "cufft" in name]
    assert "libcufft.so.11" in opened_libraries(Wheel("onnxruntime-gpu", "1.26.0"), TRANSFORMER)
    assert opened_libraries(Wheel("onnxruntime", "1.28.0"), {"Conv"}) == ()


def test_genais_cuda_part_brings_cufft_whatever_the_model_asks_for() -> None:
    key = "amd64/onnxruntime-gpu==1.31.1[generation]"
    genai = LockedWheel(
        "onnxruntime-genai-cuda", "0.18.0", "g.whl", Digest.of(b"g"), 1, "MIT License"
    )
    plain = LockedEnvironment(key, "amd64", (), ())
    assert "cufft" not in families(plain, {"MatMul"})
    assert "cufft" in families(replace(plain, wheels=(genai,)), {"MatMul"})
