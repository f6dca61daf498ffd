"""Files that are of no use at run time and stay out of the image, each rule with its reason.

Paths are as in the image, relative to its root. Licence texts and package metadata stay, always:
scanners and lawyers read them. A rule here never makes a package disappear from the lists.
"""

from __future__ import annotations

import re

from packager.assemble.recipe import PYTHON, SITE_PACKAGES
from packager.canonical import dumps
from packager.digest import Digest

_STDLIB = f"usr/lib/python{PYTHON}"

KEPT = (
    r"usr/share/doc/[^/]+/copyright",  # the licence of every Debian package
    r".*\.dist-info/(METADATA|RECORD|WHEEL|licenses/.*|LICEN[CS]E.*|NOTICE.*|COPYING.*)",
)

# fmt: off
DROPPED = (
    # Debian packages
    (r"usr/share/(?!doc/|common-licenses/).*", "manuals, locales, menus, desktop files"),
    (r"usr/share/doc/.*", "documentation; the copyright files are kept"),
    (r"usr/include/.*", "headers"),
    (r"usr/lib/.*\.(a|la|o)", "static libraries"),
    (r"usr/(bin|sbin)/(?!python3\.13$).*", "the server is the only program"),
    (r"usr/lib/[^/]+/gconv/.*", "iconv's converters; Python has its own"),
    (r"usr/lib/[^/]+/(audit|engines-3|ossl-modules)/.*", "modules that nothing opens"),
    (r"usr/lib/[^/]+/lib(nss_compat|nss_hesiod|thread_db|BrokenLocale|memusage|pcprofile)\b.*",
     "parts of the C library that nothing links"),
    (r"usr/lib/(systemd|tmpfiles\.d|sysusers\.d|lsb|mime|valgrind|binfmt\.d)/.*", "for a host"),
    (r"etc/(?!os-release$|debian_version$).*", "settings of a host"),
    (r"var/.*", "state of a host"),
    (r"bin|sbin|lib[^/]*", "links into /usr, which are written for every image alike"),
    # Python's standard library
    (rf"{_STDLIB}/sitecustomize\.py", "a link to a setting of a host"),
    (rf"{_STDLIB}/(test|idlelib|tkinter|turtledemo|lib2to3|ensurepip|venv|pydoc_data|curses|dbm"
     r"|sqlite3|unittest|xmlrpc|wsgiref|config-[^/]*|_pyrepl|__phello__)/.*",
     "no use in a server"),
    (rf"{_STDLIB}/(pydoc|turtle|pdb|doctest|antigravity|this|cProfile|profile|pstats|smtplib|poplib"
     r"|imaplib|ftplib|mailbox|webbrowser)\.py", "no use in a server"),
    (rf"{_STDLIB}/lib-dynload/(_bz2|_curses|_curses_panel|_dbm|_lzma|_sqlite3|_uuid|readline)\..*",
     "modules whose library is left out"),
    (rf"{_STDLIB}/lib-dynload/(_test\w*|_ctypes_test|_xxtestfuzz|xxlimited\w*|xxsubtype)\..*",
     "modules for Python's own tests"),
    # Wheels
    (r"(?:.*/)?__pycache__/.*", "byte code of another machine"),
    (rf"{SITE_PACKAGES}/.*\.(pyi|pyx|pxd|pxi|h|hpp|c|cc|cpp|cu|a|lib|pc|cmake)", "for building"),
    (rf"{SITE_PACKAGES}/(?:.*/)?(tests?|include)/.*", "tests and headers"),
    (rf"{SITE_PACKAGES}/(?:.*/)?(py\.typed|conftest\.py)", "for type checkers and tests"),
    (rf"{SITE_PACKAGES}/numpy/(f2py|testing|_pyinstaller|doc)/.*", "for developing"),
    (rf"{SITE_PACKAGES}/numpy/_core/(_simd|_\w*tests)\.cpython.*", "for numpy's own tests"),
    (rf"{SITE_PACKAGES}/onnxruntime/(quantization|tools|transformers|datasets|backend)/.*",
     "models are converted before they are packaged"),
    (rf"{SITE_PACKAGES}/onnxruntime_genai/models/.*", "models are exported before"),
    (rf"{SITE_PACKAGES}/onnxruntime/capi/libonnxruntime\.so.*",
     "the C library; the Python binding carries the same code in itself"),
    (rf"{SITE_PACKAGES}/onnxruntime/capi/libonnxruntime_providers_tensorrt\.so",
     "needs TensorRT, which is not in the image"),
    (rf"{SITE_PACKAGES}/[^/]+\.dist-info/(INSTALLER|REQUESTED|direct_url\.json|entry_points\.txt"
     r"|top_level\.txt)", "for installers"),
)
# fmt: on

_kept = re.compile("|".join(KEPT))
_dropped = re.compile("|".join(f"(?:{pattern})" for pattern, _ in DROPPED))


# ONNX Runtime's wheel carries its code twice: for Python, and for C. An image needs one of them.
_FOR_C = re.compile(rf"{SITE_PACKAGES}/onnxruntime/capi/libonnxruntime\.so.*")
_FOR_PYTHON = re.compile(rf"{SITE_PACKAGES}/onnxruntime/capi/onnxruntime_pybind11_state\..*\.so")


def is_dropped(path: str, *, genai: bool = False) -> bool:
    """Whether the file at `path` stays out of the image; `genai` is one that ONNX Runtime GenAI
    runs, which loads ONNX Runtime's C library and leaves the binding for Python alone."""
    if genai and (_FOR_C.fullmatch(path) or _FOR_PYTHON.fullmatch(path)):
        return _FOR_PYTHON.fullmatch(path) is not None
    return _dropped.fullmatch(path) is not None and _kept.fullmatch(path) is None


def rules_digest() -> Digest:
    """Digest of the lists, so that a layer's key changes with them."""
    return Digest.of(dumps([list(KEPT), [pattern for pattern, _ in DROPPED]]))
