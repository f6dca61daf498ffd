"""Objections to a profile's wheel: told at `check`, with the reason."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from packager.domain.artifact import Platform
from packager.domain.hardware import Wheel
from packager.domain.provider_wheel import (
    cuda_major,
    cudnn_is_optional,
    driver_needed,
    objections,
    phones_home,
    release_of,
)


def profile(provider, name, version, architecture="amd64", floor=None, cuda=None):
    device = SimpleNamespace(driver_floor=floor, cuda=cuda) if floor or cuda else None
    return SimpleNamespace(
        execution_provider=provider,
        wheel=Wheel(name, version),
        platform=Platform("linux", architecture),
        accelerator=device,
        unpackaged=None,
    )


@pytest.mark.parametrize(
    "sound",
    [
        profile("CPUExecutionProvider", "onnxruntime", "1.28.0"),
        profile("CUDAExecutionProvider", "onnxruntime-gpu", "1.26.0", floor="525", cuda="12"),
        profile("CUDAExecutionProvider", "onnxruntime-gpu", "1.28.0", floor="580.65", cuda="13.0"),
        profile("OpenVINOExecutionProvider", "onnxruntime-openvino", "1.24.1"),
        profile("CPUExecutionProvider", "our-own-build", "1"),
    ],
)
def test_profiles_that_can_be_served(sound):
    assert objections(sound) == ()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (profile("HailoExecutionProvider", "onnxruntime", "1.28.0"), "Hailo's fork"),
        (profile("none", "onnxruntime", "1.28.0"), "no execution provider for this device"),
        (profile("Cuda", "onnxruntime-gpu", "1.26.0"), "no execution provider that is known"),
        (profile("CUDAExecutionProvider", "onnxruntime", "1.28.0"), "does not bring"),
        (profile("CUDAExecutionProvider", "onnxruntime-gpu", "1.28.0", "arm64"), "not built for"),
        (
            profile("OpenVINOExecutionProvider", "onnxruntime-openvino", "1.24.1", "arm64"),
            "not built for linux/arm64",
        ),
        (
            profile("CUDAExecutionProvider", "onnxruntime-gpu", "1.28.0", floor="535"),
            "needs driver 580",
        ),
        (
            profile("CUDAExecutionProvider", "onnxruntime-gpu", "1.28.0", cuda="12"),
            "built for CUDA 13",
        ),
    ],
)
def test_profiles_that_cannot(wrong, why):
    assert any(why in one.why and one.remedy for one in objections(wrong))


def test_facts_of_versions():
    assert [cuda_major(Wheel("onnxruntime-gpu", v)) for v in ("1.26.0", "1.27.0+x")] == [12, 13]
    assert cuda_major(Wheel("onnxruntime", "1.28.0")) is None
    assert driver_needed(Wheel("onnxruntime-gpu", "1.28.0")) == 580
    assert cudnn_is_optional(Wheel("onnxruntime-gpu", "1.28.0"))
    assert not cudnn_is_optional(Wheel("onnxruntime-gpu", "1.27.0"))
    assert phones_home(Wheel("onnxruntime", "1.29.0"))
    assert not phones_home(Wheel("onnxruntime", "1.28.0"))
    assert release_of(Wheel("x", "newest")) == (0, 0)
