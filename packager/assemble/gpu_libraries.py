"""Which of NVIDIA's libraries go into an image: whole ones only, and only what the model asks for.

Their licence forbids changing them, so a library is in as NVIDIA made it or not at all. What ONNX
Runtime's CUDA provider links is always in. cuDNN, cuFFT and NVRTC are opened on demand from
onnxruntime-gpu 1.28 on, so the operators of the model decide; before, they are linked. What is in
doubt is in: a model whose operators are not known gets everything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from packager.assemble.recipe import SITE_PACKAGES, parse_key
from packager.domain.hardware import Wheel
from packager.domain.lock import LockedEnvironment
from packager.domain.provider_wheel import cuda_major, cudnn_is_optional
from packager.errors import Finding

# Operators whose CUDA kernels call cuDNN, in ONNX Runtime 1.28. Reductions are among them: some
# shapes have kernels of ONNX Runtime's own, but which ones is not told by the graph alone.
_CUDNN_OPERATORS = re.compile(
    r"(Fused|Nhwc|NhwcFused|QLinear|Deform)?Conv(Transpose|Integer)?|CausalConvWithState"
    r"|(Global)?(Average|Max|Lp)Pool|MaxUnpool|MaxRoiPool|LRN"
    r"|(Batch|Instance|Group|SkipGroup)Normalization(Internal)?|GroupNorm|SkipGroupNorm"
    r"|Reduce\w+|Arg(Max|Min)|Einsum|Hardmax|MeanVarianceNormalization"
)
_RECURRENT_OPERATORS = frozenset({"LSTM", "GRU", "RNN"})
_FOURIER_OPERATORS = frozenset({"Rfft", "Irfft", "DFT", "STFT"})


@dataclass(frozen=True, slots=True)
class Family:
    """Libraries that go in together: the wheels that bring them, and their file names."""

    name: str
    wheels: tuple[str, ...]
    files: str
    why: str


_FAMILIES = (
    Family(
        "cublas",
        ("nvidia-cublas", "nvidia-cublas-cu12"),
        r"libcublas(Lt)?\.so\.\d+",
        "matrix products; linked",
    ),
    Family(
        "cudart",
        ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"),
        r"libcudart\.so\.\d+",
        "the CUDA run time; linked",
    ),
    Family(
        "curand",
        ("nvidia-curand", "nvidia-curand-cu12"),
        r"libcurand\.so\.\d+",
        "random numbers; linked",
    ),
    Family(
        "cufft",
        ("nvidia-cufft", "nvidia-cufft-cu12"),
        r"libcufft\.so\.\d+",
        "Fourier transforms",
    ),
    Family(
        "cudnn",
        ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
        r"libcudnn(_(?!adv)\w+)?\.so\.\d+",
        "convolutions, pooling, normalizations, reductions",
    ),
    Family(
        "cudnn-adv",
        ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
        r"libcudnn_adv\.so\.\d+",
        "recurrent layers",
    ),
    Family(
        "nvrtc",
        ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
        r"libnvrtc(-builtins)?\.so\.[\d.]+",
        "engines that cuDNN compiles at run time",
    ),
)
_LINKED = frozenset({"cublas", "cudart", "curand"})
_BEFORE_OPTIONAL = frozenset({"cufft", "cudnn", "nvrtc"})
# What is opened by name, in the order of loading; cuDNN finds its own parts beside itself.
_SONAMES = {
    12: (
        ("cudart", "libcudart.so.12"),
        ("cublas", "libcublasLt.so.12"),
        ("cublas", "libcublas.so.12"),
        ("curand", "libcurand.so.10"),
        ("cufft", "libcufft.so.11"),
        ("nvrtc", "libnvrtc.so.12"),
        ("cudnn", "libcudnn.so.9"),
        ("cudnn-adv", "libcudnn_adv.so.9"),
    ),
    13: (
        ("cudart", "libcudart.so.13"),
        ("cublas", "libcublasLt.so.13"),
        ("cublas", "libcublas.so.13"),
        ("curand", "libcurand.so.10"),
        ("cufft", "libcufft.so.12"),
        ("nvrtc", "libnvrtc.so.13"),
        ("cudnn", "libcudnn.so.9"),
        ("cudnn-adv", "libcudnn_adv.so.9"),
    ),
}
_LIBRARY = re.compile(r".*\.so(\.[\d.]+)?")
# A profile of CUDA 12 finds each library in a folder of its own, one of CUDA 13 most in `cu13`.
_FOLDERS = {
    12: ("cublas", "cuda_nvrtc", "cuda_runtime", "cudnn", "cufft", "curand"),
    13: ("cu13", "cudnn"),
}


def families(environment: LockedEnvironment, operators: Collection[str]) -> frozenset[str]:
    """The families that an image of `environment` needs for a model with these operators."""
    found = families_of(parse_key(environment.key)[1], operators)
    # Its CUDA part links cuFFT whatever the model asks for.
    genai = any(wheel.name == "onnxruntime-genai-cuda" for wheel in environment.wheels)
    return found | {"cufft"} if genai and found else found


def families_of(wheel: Wheel, operators: Collection[str]) -> frozenset[str]:
    """The same for a wheel that brings the provider; none beside CUDA."""
    if cuda_major(wheel) is None:
        return frozenset()
    if not operators:
        return frozenset(family.name for family in _FAMILIES)
    found = set(_LINKED)
    if not cudnn_is_optional(wheel):
        found |= _BEFORE_OPTIONAL
    if needs_cudnn(operators):
        found |= {"cudnn", "nvrtc"}
    if not _RECURRENT_OPERATORS.isdisjoint(operators):
        found |= {"cudnn", "cudnn-adv", "nvrtc"}
    if not _FOURIER_OPERATORS.isdisjoint(operators):
        found.add("cufft")
    return frozenset(found)


def needs_cudnn(operators: Collection[str]) -> bool:
    """Whether an operator's CUDA kernel calls cuDNN; also when no operators are known."""
    return not operators or any(
        name in _RECURRENT_OPERATORS or _CUDNN_OPERATORS.fullmatch(name) for name in operators
    )


def shipped(environment: LockedEnvironment, operators: Collection[str]) -> LockedEnvironment:
    """The environment without NVIDIA's wheels that the model has no need of."""
    chosen = families(environment, operators)
    wanted = {wheel for one in _FAMILIES if one.name in chosen for wheel in one.wheels}
    kept = tuple(
        wheel
        for wheel in environment.wheels
        if not wheel.name.startswith("nvidia-") or wheel.name in wanted
    )
    return replace(environment, wheels=kept)


def is_left_out(path: str, chosen: Collection[str]) -> bool:
    """Whether a file of an NVIDIA wheel is a library that no chosen family asks for."""
    name = path.rpartition("/")[2]
    if not path.startswith(f"{SITE_PACKAGES}/nvidia/") or not _LIBRARY.fullmatch(name):
        return False
    return not any(one.name in chosen and re.fullmatch(one.files, name) for one in _FAMILIES)


def missing_families(chosen: Collection[str], paths: Iterable[str]) -> list[Finding]:
    """The chosen families of which not one file is in the image."""
    names = {path.rpartition("/")[2] for path in paths}
    return [
        Finding(
            f"the image lacks the libraries of {one.name}: {one.why}",
            where=" or ".join(one.wheels),
            expected=one.files,
            next_step="make the lock anew: packager lock --upgrade",
        )
        for one in _FAMILIES
        if one.name in chosen and not any(re.fullmatch(one.files, name) for name in names)
    ]


def reasons(chosen: Collection[str]) -> dict[str, str]:
    """Family → why it is in or out, for the record."""
    return {
        one.name: one.why
        if one.name in chosen
        else f"left out: the model asks for none of {one.why}"
        for one in _FAMILIES
    }


def file_patterns() -> dict[str, str]:
    """Family → regular expression of its libraries' file names."""
    return {one.name: one.files for one in _FAMILIES}


def opened_libraries(wheel: Wheel, operators: Collection[str]) -> tuple[str, ...]:
    """The libraries that must open at the site for such a model, by soname; the driver's first."""
    major = cuda_major(wheel)
    if major is None:
        return ()
    chosen = families_of(wheel, operators)
    sonames = (soname for family, soname in _SONAMES[major] if family in chosen)
    return ("libcuda.so.1", *sonames)


def library_folders(environment_key: str) -> tuple[str, ...]:
    """Where the dynamic linker has to look for them, as paths in the image."""
    major = cuda_major(parse_key(environment_key)[1])
    return tuple(f"{SITE_PACKAGES}/nvidia/{name}/lib" for name in _FOLDERS.get(major or 0, ()))
