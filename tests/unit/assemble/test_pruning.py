"""What stays and what goes: a look at both sides of each rule."""

from __future__ import annotations

import pytest

from packager.assemble.pruning import is_dropped
from packager.assemble.recipe import SITE_PACKAGES as SITE

STDLIB = "usr/lib/python3.13"


@pytest.mark.parametrize(
    "path",
    [
        "usr/share/doc/libc6/copyright",
        "usr/share/common-licenses/GPL-3",
        "usr/lib/os-release",
        "etc/os-release",
        "usr/bin/python3.13",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libnss_files.so.2",
        "usr/lib64/ld-linux-x86-64.so.2",
        f"{STDLIB}/asyncio/base_events.py",
        f"{STDLIB}/encodings/cp1252.py",
        f"{STDLIB}/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so",
        f"{SITE}/numpy/typing/__init__.py",
        f"{SITE}/numpy/_core/_multiarray_umath.cpython-313-x86_64-linux-gnu.so",
        f"{SITE}/numpy-2.5.5.dist-info/METADATA",
        f"{SITE}/numpy-2.5.5.dist-info/licenses/numpy/tests/LICENSE.txt",
        f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cuda.so",
        f"{SITE}/onnxruntime/capi/onnxruntime_pybind11_state.cpython-313-x86_64-linux-gnu.so",
        f"{SITE}/onnxruntime/ThirdPartyNotices.txt",
        f"{SITE}/nvidia/cudnn/lib/libcudnn_ops.so.9",
        f"{SITE}/testserver/latest.py",
    ],
)
def test_kept(path):
    assert not is_dropped(path)


@pytest.mark.parametrize(
    "path",
    [
        "bin",
        "lib64",
        "usr/share/man/man1/x.1.gz",
        "usr/share/doc/libc6/changelog.gz",
        "usr/include/stdio.h",
        "usr/bin/sh",
        "usr/sbin/ldconfig",
        "usr/lib/x86_64-linux-gnu/libm.a",
        "etc/profile",
        "var/lib/dpkg/info/x.postinst",
        f"{STDLIB}/ensurepip/_bundled/pip.whl",
        f"{STDLIB}/lib-dynload/_sqlite3.cpython-313-x86_64-linux-gnu.so",
        f"{SITE}/numpy/_core/tests/test_x.py",
        f"{SITE}/numpy/__init__.pyi",
        f"{SITE}/numpy/_core/include/numpy/arrayobject.h",
        f"{SITE}/onnxruntime/quantization/quantize.py",
        f"{SITE}/onnxruntime/capi/libonnxruntime.so.1.28.0",
        f"{SITE}/x/__pycache__/y.pyc",
        f"{SITE}/x-1.dist-info/entry_points.txt",
    ],
)
def test_dropped(path):
    assert is_dropped(path)


def test_an_image_for_genai_holds_onnxruntime_in_its_other_form():
    """Its code is in the wheel twice, and in an image once."""
    for_c = f"{SITE}/onnxruntime/capi/libonnxruntime.so.1.32.0"
    for_python = (
        f"{SITE}/onnxruntime/capi/onnxruntime_pybind11_state.cpython-313-x86_64-linux-gnu.so"
    )
    assert is_dropped(for_c)
    assert not is_dropped(for_python)
    assert not is_dropped(for_c, genai=True)
    assert is_dropped(for_python, genai=True)
    assert is_dropped(f"{SITE}/onnxruntime_genai/models/builder.py", genai=True)
    assert not is_dropped(f"{SITE}/onnxruntime_genai/libonnxruntime-genai.so", genai=True)
