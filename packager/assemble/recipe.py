"""What an image is made of: the short lists from which everything else follows.

Asked for by name: a few Debian packages, the server's wheels, the execution provider's wheel and
the libraries that it links. What these pull in is found by `resolve`; what is left out although a
package asks for it stands below with the reason. A change here makes every lock stale.
"""

from __future__ import annotations

from packager.domain.hardware import Wheel
from packager.errors import InputError

# Raise it when the code in this package makes other bytes from the same inputs.
RULES_VERSION = 1

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

SERVER_WHEELS = ("httptools", "numpy", "uvicorn")

# Wheels that a wheel asks for and that are left out.
DROPPED_WHEELS = {
    "flatbuffers": "only ONNX Runtime's conversion tools import it, and they are left out too",
    "packaging": "only ONNX Runtime's conversion tools import it, and they are left out too",
    "protobuf": "only ONNX Runtime's conversion tools import it, and they are left out too",
}

WHEEL_MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC_MINOR = 41  # Debian 13 carries glibc 2.41, so wheels up to manylinux_2_41 load

# Opened or linked by `libonnxruntime_providers_cuda.so` of the CUDA 12 wheels.
_CUDA_12 = (
    "nvidia-cublas-cu12",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cufft-cu12",
    "nvidia-curand-cu12",
)
_LAST_CUDA_12 = (1, 26)


def requirements(wheel: Wheel) -> tuple[str, ...]:
    """What pip is asked for, sorted: server, execution provider and the libraries it links.

    Raises InputError for an onnxruntime-gpu whose CUDA libraries are not known here.
    """
    asked = {*SERVER_WHEELS, f"{wheel.name}=={wheel.version}"}
    if needs_cuda(wheel):
        if _major_minor(wheel) > _LAST_CUDA_12:
            raise InputError(
                f"no CUDA libraries are known for {wheel.name} {wheel.version}",
                where="hardware profile: wheel",
                expected="onnxruntime-gpu 1.26 or older, which is built for CUDA 12",
                got=f"{wheel.name}=={wheel.version}",
                next_step="pin onnxruntime-gpu==1.26.0 in the hardware profile",
            )
        asked.update(_CUDA_12)
    return tuple(sorted(asked))


def parse_key(key: str) -> tuple[str, Wheel]:
    """Architecture and execution provider's wheel of an environment key."""
    architecture, _, pinned = key.partition("/")
    name, _, version = pinned.partition("==")
    return architecture, Wheel(name, version)


def needs_cuda(wheel: Wheel) -> bool:
    return wheel.name == "onnxruntime-gpu"


def _major_minor(wheel: Wheel) -> tuple[int, int]:
    major, _, rest = wheel.version.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        raise InputError(
            f"the version of {wheel.name} cannot be read",
            where="hardware profile: wheel",
            expected="a released version, such as 1.26.0",
            got=repr(wheel.version[:80]),
        )
    return int(major), int(minor)
