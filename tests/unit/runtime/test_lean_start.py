"""What is done without a library does what the library does, and the start stays lean."""

from __future__ import annotations

import contextlib
import http
import http.client
import io
import ipaddress
import subprocess
import sys
import zipfile
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_process import REPOSITORY, RuntimeProcess, clean_environment
from tiny_models import RuntimeFolder

from packager.optimize.npz import write_npz
from packager.runtime.__main__ import _options
from packager.runtime.addresses import family_of, is_loopback
from packager.runtime.npz import _array, _stored, read_npz
from packager.runtime.wire import _REASONS, http_date

# What is not needed to serve a plain model over plain HTTP.
LEFT_OUT = (
    *("argparse", "email", "html.entities", "ipaddress", "ssl", "urllib.parse", "zipfile"),
    *("asyncio.locks", "asyncio.queues", "asyncio.streams", "locale", "logging", "pathlib"),
    *("subprocess", "traceback", "ast", "dis", "http", "inspect", "pickle", "tokenize"),
    *("packager.runtime.meaning", "packager.runtime.openapi", "packager.runtime.status_page"),
    *("packager.runtime.generative.settings", "packager.runtime.texts", "packager.runtime.images"),
)
PROGRAM = """
import os, sys
from packager.runtime import __main__
from packager.runtime.lean_asyncio import load_lean_asyncio
load_lean_asyncio()
from packager.runtime import server
def ready(self):
    print(*sorted(sys.modules), flush=True)
    os._exit(0)
server._Service._record_start = ready
sys.argv[1:] = ["--config", sys.argv[1], "--host", "127.0.0.1", "--port", "0"]
sys.exit(__main__.main())
"""


def loaded(program: str, *arguments: str) -> set[str]:
    environment = clean_environment(REPOSITORY, Path(arguments[0]).parent if arguments else Path())
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


def test_a_start_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    found = loaded(PROGRAM, str(folder.write()))
    # Some versions of numpy and ONNX Runtime bring some of it.
    brought = loaded("import sys, numpy, onnxruntime\nprint(*sys.modules)")
    assert "packager.runtime.server" in found
    assert sorted((found - (brought - {"ssl"})) & set(LEFT_OUT)) == []


LATE = """
import sys
from packager.runtime.lean_asyncio import load_lean_asyncio
load_lean_asyncio()
print(*sorted({"logging", "subprocess", "traceback", "asyncio.streams"} & set(sys.modules)))
import asyncio, gc
async def fails():
    raise ValueError("told by asyncio")
async def main():
    asyncio.ensure_future(fails())
    await asyncio.sleep(0)
    gc.collect()
    asyncio.get_running_loop().set_debug(True)
    print(len(asyncio.ensure_future(asyncio.sleep(0))._source_traceback) > 0)
asyncio.run(main())
import logging, subprocess, traceback
print(asyncio.StreamReader.__module__, asyncio.subprocess.PIPE, asyncio.TaskGroup.__module__)
print(subprocess.run([sys.executable, "-c", ""]).returncode, logging.INFO, traceback.__file__ != "")
try:
    asyncio.nothing
except AttributeError as error:
    print(error)
"""


def test_what_asyncio_was_loaded_without_comes_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE],
        env=clean_environment(REPOSITORY, Path()), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "",
        "True",
        "asyncio.streams -1 asyncio.taskgroups",
        "0 20 True",
        "module 'asyncio' has no attribute 'nothing'",
    ]
    assert "ValueError: told by asyncio" in done.stderr
    assert "never retrieved" in done.stderr


LEAN = """
import sys
from packager.runtime.lean_asyncio import load_lean_asyncio
from packager.runtime.lean_libraries import load_lean_libraries
load_lean_libraries()
load_lean_asyncio()
late = {"ast", "asyncio.locks", "asyncio.queues", "copy", "heapq", "inspect", "pickle", "queue"}
print(*late & set(sys.modules))
import asyncio, functools, io, signal
import numpy as np
import orjson
async def nothing():
    pass
async def main():
    queue, lock = asyncio.Queue(), asyncio.Lock()
    async with lock:
        queue.put_nowait(1)
    print(await queue.get(), asyncio.locks.__name__)
    for answer in asyncio.as_completed([asyncio.sleep(0, 2)]):
        print(await answer)
    for refused in (nothing, functools.partial(nothing)):
        try:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, refused)
        except TypeError as error:
            print(error)
    try:
        await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, "127.0.0.1", 1, happy_eyeballs_delay=0.1)
    except ConnectionRefusedError:
        print("refused")
asyncio.run(main())
stream = io.BytesIO()
np.save(stream, np.array([{"a": 3}], dtype=object))
print(np.load(io.BytesIO(stream.getvalue()), allow_pickle=True)[0]["a"], np.dtype("i4,f8").names)
import copy, dataclasses, heapq, inspect, numpy.ma, numpy.random, pickle, queue, uuid
Value = dataclasses.make_dataclass("Value", ["x"])
print(copy.deepcopy(Value([1])), orjson.dumps([Value([]), uuid.UUID(int=0)]).decode())
print(pickle.loads(pickle.dumps(np.arange(2))), inspect.signature(np.mean).parameters["axis"])
print(heapq.nsmallest(1, [2, 1]), queue.Queue().empty())
"""


def test_what_libraries_were_loaded_without_comes_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAN],
        env=clean_environment(REPOSITORY, Path()), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "",
        "1 asyncio.locks",
        "2",
        "coroutines cannot be used with add_signal_handler()",
        "coroutines cannot be used with add_signal_handler()",
        "refused",
        "3 ('f0', 'f1')",
        'Value(x=[1]) [{"x":[]},"00000000-0000-0000-0000-000000000000"]',
        "[0 1] axis=None",
        "[1] True",
    ]


def test_the_pages_come_all_the_same(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        for _ in range(2):
            assert status(process.port, "/") == 200
            assert status(process.port, "/openapi.json") == 200
            assert status(process.port, "/v2/models/a%20b") == 404


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)))
def test_addresses(text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        assert not is_loopback(text)
        return
    if "%" in text:
        return
    assert family_of(text) is not None
    mapped = getattr(address, "ipv4_mapped", None)
    assert is_loopback(text) == (mapped or address).is_loopback


@pytest.mark.parametrize("text", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"])
def test_loopback(text: str) -> None:
    assert is_loopback(text)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "10.0.0.1", "localhost", "", "1::1", "a\0b"])
def test_not_loopback(text: str) -> None:
    assert not is_loopback(text)


@given(st.integers(0, 4102444800))
def test_dates(seconds: int) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True).encode()


ARRAYS = {
    "input.x": np.arange(6, dtype="<f4").reshape(2, 3),
    "output.y": np.array(["a", "bc"]),
    "z": np.array(3),
}


def same(found: dict[str, np.ndarray]) -> bool:
    return set(found) == set(ARRAYS) and all(
        np.array_equal(found[name], array) and found[name].dtype == array.dtype
        for name, array in ARRAYS.items()
    )


def test_an_npz_of_ours_is_read_without_zipfile(tmp_path: Path) -> None:
    write_npz(tmp_path / "golden.npz", ARRAYS)
    data = (tmp_path / "golden.npz").read_bytes()
    assert _stored(data) is not None
    assert same(read_npz(data))


DTYPES = ("<f4", "<f2", "<i8", "|b1", "|u1", "<U3", "|S2", ">f4", "<c8", "<M8[s]")
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(st.sampled_from(DTYPES), SHAPES, st.booleans())
def test_an_array_is_what_numpy_reads(dtype: str, shape: tuple[int, ...], columns: bool) -> None:
    array = np.zeros(shape, dtype)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asfortranarray(array) if columns else array)
    data = stream.getvalue()
    found = _array(data)
    wanted = np.lib.format.read_array(io.BytesIO(data))
    assert (found.dtype, found.shape, found.tobytes()) == (dtype, wanted.shape, wanted.tobytes())
    for short in (data[:-1], data[:40]) if array.nbytes else ():
        with pytest.raises(ValueError):
            _array(short)


@pytest.mark.parametrize("shape", [b"(3)", b"(,)", b"(1,,3)", b"(03,)", b"(1, 3,)", b"(3, )"])
def test_a_shape_that_is_written_otherwise_is_for_numpy(shape: bytes) -> None:
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + b", }"
    head = text.ljust(117) + b"\n"
    data = b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + b"\1\2\3"
    try:
        wanted = np.lib.format.read_array(io.BytesIO(data))
    except ValueError:
        with pytest.raises(ValueError):
            _array(data)
    else:
        assert np.array_equal(_array(data), wanted)


def test_reasons_are_those_of_the_standard() -> None:
    for status, reason in _REASONS.items():
        assert reason.decode() in (http.HTTPStatus(status).phrase, "Content Too Large")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_other_npz_is_read_by_numpy(save: object) -> None:
    stream = io.BytesIO()
    save(stream, **ARRAYS)  # type: ignore[operator]
    assert same(read_npz(stream.getvalue()))


def test_objects_are_refused() -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(stream.getvalue())


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_npz_is_an_error_or_another_array(at: int, value: int) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        member = io.BytesIO()
        np.lib.format.write_array(member, np.arange(4))
        archive.writestr("x.npy", member.getvalue())
    data = bytearray(stream.getvalue())
    data[at % len(data)] = value
    try:
        found = read_npz(bytes(data))
    except Exception as error:
        # Whatever numpy and zipfile raise becomes a Refusal where it is asked for; never a crash.
        assert str(type(error))
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


def test_options_as_images_give_them() -> None:
    given_ = ["--config", "a.json", "--port", "0", "--host", "::1", "--grpc-port", "9"]
    found = _options(given_)
    assert (str(found.config), found.port, found.host, found.grpc_port) == ("a.json", 0, "::1", 9)
    assert not found.measure


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--config"], ["--config", "a", "--port", "x"], ["--config", "a", "extra"],
        ["--config", "a", "--other", "b"], ["--config", "a", "--port", "-1x"],
    ],
)  # fmt: skip
def test_options_that_are_wrong_are_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _options(arguments)
    assert ended.value.code == 2
    assert "usage: packager-runtime" in capsys.readouterr().err


def test_other_forms_of_options() -> None:
    assert _options(["--config=a", "--measure"]).measure
    assert _options(["--port=7", "--config=a"]).port == 7
