"""What an image is made of: the short lists from which everything else follows.

Asked for by name: a few Debian packages, the server's wheels, the execution provider's wheel and
the libraries that it links. What these pull in is found by `resolve`; what is left out although a
package asks for it stands below with the reason. A change here makes every lock stale.
"""

from __future__ import annotations

from collections.abc import Sequence

from packager.domain.hardware import HardwareProfile, Wheel
from packager.domain.provider_wheel import cuda_major, release_of
from packager.errors import InputError

# Raise it when the code in this package makes other bytes from the same inputs.
RULES_VERSION = 3

SUITE = "trixie"
COMPONENT = "main"
PYTHON = "3.13"
SITE_PACKAGES = f"usr/local/lib/python{PYTHON}/dist-packages"

PACKAGES = (
    "base-files",  # /etc/os-release, by which scanners know the distribution
    "libc6",
    "libgcc-s1",
    "libpython3.13-stdlib",
    "libstdc++6",  # linked by ONNX Runtime and numpy
    "python3.13-minimal",
    "zlib1g",
)

# Dependencies that are left out, with what is lost by it. Nothing here is listed in `status.d`.
DROPPED_PACKAGES = {
    "awk": "only base-files' maintainer scripts call it, and none is run",
    "libbz2-1.0": "no bz2 module: nothing at run time reads that format",
    "libdb5.3t64": "no dbm.ndbm module",
    "liblzma5": "no lzma module: nothing at run time reads that format",
    "libncursesw6": "no curses module: there is no terminal",
    "libreadline8t64": "no readline module: there is no prompt",
    "libsqlite3-0": "no sqlite3 module: the server stores nothing",
    "libtinfo6": "no curses module: there is no terminal",
    "libuuid1": "the uuid module works without it",
    "media-types": "the server sends two content types, both written in its code",
    "mime-support": "the server sends two content types, both written in its code",
    "netbase": "no service or protocol is looked up by name",
    "openssl-provider-legacy": "ciphers of the past; nothing here may use them",
    "tzdata": "times are UTC",
}

SERVER_WHEELS = ("httptools", "numpy", "orjson")

# What a release may ask for beside, by feature.
FEATURE_WHEELS = {
    "generation": ("jinja2", "tokenizers"),
    "grammar": ("llguidance",),
    "grpc": ("hpack", "protobuf"),
    "image": ("pillow",),
    "text": ("tokenizers",),
}

# Its batching interface is experimental and was redesigned within a year: one version exactly.
_GENAI = "0.18.0"
FEATURE_WHEELS["genai"] = (f"onnxruntime-genai=={_GENAI}",)

# Wheels that a wheel asks for and that are left out, unless they are asked for by name.
DROPPED_WHEELS = {
    "flatbuffers": "only ONNX Runtime's conversion tools import it, and they are left out too",
    "huggingface-hub": "only the download of tokenizers imports it, and nothing is downloaded",
    "packaging": "only ONNX Runtime's conversion tools import it, and they are left out too",
    "protobuf": "only ONNX Runtime's conversion tools import it, and they are left out too",
}

WHEEL_MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC_MINOR = 41  # Debian 13 carries glibc 2.41, so wheels up to manylinux_2_41 load

# What the CUDA provider links or opens on demand; `gpu_libraries` says which of it an image gets.
# CUDA 13 is held to 13.0, the release that driver 580 came with and the smallest: cuBLAS grew by
# 6 % and cuRAND by 30 % until 13.10 (sizes of the wheels).
_CUDA_LIBRARIES = {
    12: (
        "nvidia-cublas-cu12",
        "nvidia-cuda-nvrtc-cu12",
        "nvidia-cuda-runtime-cu12",
        "nvidia-cudnn-cu12>=9,<10",
        "nvidia-cufft-cu12",
        "nvidia-curand-cu12",
    ),
    13: (
        "nvidia-cublas>=13.0,<13.1",
        "nvidia-cuda-nvrtc>=13.0,<13.1",
        "nvidia-cuda-runtime>=13.0,<13.1",
        "nvidia-cudnn-cu13>=9,<10",
        "nvidia-cufft>=12.0,<12.1",
        "nvidia-curand>=10.4.0,<10.4.1",
    ),
}


def requirements(wheel: Wheel, features: Sequence[str] = ()) -> tuple[str, ...]:
    """What pip is asked for, sorted: server, execution provider and the libraries it links.

    Raises InputError for an onnxruntime-gpu whose version cannot be read.
    """
    asked = {*SERVER_WHEELS, f"{wheel.name}=={wheel.version}"}
    for feature in features:
        asked.update(FEATURE_WHEELS[feature])
    if major := cuda_major(_released(wheel)):
        asked.update(_CUDA_LIBRARIES[major])
        if "generation" in features:  # packager's own engine runs text on a CPU only
            asked.difference_update(FEATURE_WHEELS["genai"])
            asked.add(f"onnxruntime-genai-cuda=={_GENAI}")
    return tuple(sorted(asked))


def environment_key(hardware: HardwareProfile, features: Sequence[str] = ()) -> str:
    """`amd64/onnxruntime==1.28.0`: the environment that the profile's images are made of.

    With further features `amd64/onnxruntime==1.28.0[grpc,text]`.
    """
    wheel = hardware.wheel
    further = f"[{','.join(sorted(features))}]" if features else ""
    return f"{hardware.platform.architecture}/{wheel.name}=={wheel.version}{further}"


def parse_key(key: str) -> tuple[str, Wheel]:
    """Architecture and execution provider's wheel of an environment key."""
    architecture, _, pinned = key.partition("/")
    name, _, version = pinned.partition("[")[0].partition("==")
    return architecture, Wheel(name, version)


def features_of(key: str) -> tuple[str, ...]:
    """The further features of an environment key; raises InputError for one that is unknown."""
    _, _, further = key.partition("[")
    named = tuple(further.removesuffix("]").split(",")) if further else ()
    if unknown := [name for name in named if name not in FEATURE_WHEELS]:
        raise InputError(
            "the lock names a feature that this version does not know",
            where=key,
            expected=", ".join(FEATURE_WHEELS),
            got=", ".join(unknown),
        )
    return named


def _released(wheel: Wheel) -> Wheel:
    if cuda_major(wheel) and release_of(wheel) == (0, 0):
        raise InputError(
            f"the version of {wheel.name} cannot be read",
            where="hardware profile: wheel",
            expected="a released version, such as 1.26.0",
            got=repr(wheel.version[:80]),
        )
    return wheel
