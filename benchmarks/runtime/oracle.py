"""The conformance suite against a real Triton and us: `python -m benchmarks.runtime.oracle`.

Triton comes out of `nvidia-pytriton` in `$BENCH_VENVS/venv-pytriton` (a wheel of 55 MB; no
container, no GPU; made by a Python whose shared library is the system's, as Debian's), the clients
out of `$BENCH_VENVS/venv-triton`. Compared are the checks of `triton_conformance.py`, and for each
broken request of the unit tests, over REST and over gRPC, whether both refuse it, and with the same
class of status: Triton tells 500 of much that a client did wrong, where we must tell 4xx. A shape
whose product is more than 64 bits can say ends the process of Triton's model for good, so it comes
last. The good request after all others is asked of a new Triton and of our old server: it says
whether both answer it, and nothing of what the others did to Triton. Exit code 1 for a difference
that is not in `STRICTER`, where it is said why we refuse what Triton takes. The outcome goes to
`results/oracle.json`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.tiny_models import ONNX_TYPES, RuntimeFolder, spinner, tensor

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "unit" / "runtime")]

import grpc  # noqa: E402
import test_malformed_requests as broken  # noqa: E402
from broken_messages import BROKEN, GOOD  # noqa: E402
from http2_peer import INFER  # noqa: E402
from runtime_process import RuntimeProcess  # noqa: E402

from benchmarks.runtime.compare import _free_ports  # noqa: E402

HERE = Path(__file__).parent
VENVS = Path(os.environ.get("BENCH_VENVS", "/tmp"))
LETHAL = ("shape immense", "a product that overflows")
AFTERWARDS = "a good one after all others"
SILENT = "Triton computes with another value than was sent, and says nothing"
STRICTER = {
    "NaN": "RFC 8259 has no NaN",
    "data nested otherwise": "the nesting contradicts the shape",
    "data too large for FP32": SILENT,
    "UINT8 out of range": SILENT,
    "INT8 out of range": SILENT,
    "parameters is a list": "the protocol wants an object",
    "contents for more inputs": "the protocol wants one for each input",
    "a negative timeout": "no time is shorter than none",
}
# Of stock clients' checks, those in which Triton is at fault, or the wheel that it came in.
THEIRS = {
    "grpc health_in_full": "it calls every service healthy, and has no Watch",
}
CLASSIFY = "/v2/models/classifier/infer"
ACCEPTED: dict[str, dict[str, object]] = {
    "a good one": {"inputs": [broken.GOOD]},
    "classification": broken.classes_of("scores", 2),
    "classification of whole numbers": broken.classes_of("label", 1),
    "more classes than there are": broken.classes_of("scores", 99),
    "output twice": {"inputs": [broken.GOOD], "outputs": [{"name": "label"}] * 2},
    "parameters is an empty list": broken.changed(parameters=[]),
}
Ports = tuple[int, int]


@contextlib.contextmanager
def triton() -> Iterator[Ports]:
    """HTTP and gRPC port of a Triton that is ready."""
    ports = (_free_ports(), _free_ports())
    command = [VENVS / "venv-pytriton/bin/python", HERE / "peers/triton_start.py", *ports]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 300
        while status(ports[0], "GET", "/v2/models/slow/ready") != 200:
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit("Triton did not become ready")
            time.sleep(0.5)
        yield ports
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def ours() -> Iterator[Ports]:
    """The same of our server, with the same models."""
    with tempfile.TemporaryDirectory() as place:
        folder = RuntimeFolder(Path(place))
        folder.add_classifier()
        x, y = tensor("x", "FP32", [-1, 4]), tensor("y", "FP32", [-1, 4])
        folder.add("slow", spinner(300_000), [x], [y])
        for datatype in ONNX_TYPES:
            folder.add_identity(datatype, [-1, 2])
        folder.document["grpc"] = {"port": 0}
        with RuntimeProcess(folder.write()) as process:
            process.wait_ready()
            yield process.port, process.log[-1]["grpc_port"]


def status(
    port: int, method: str, path: str, body: bytes | None = None, length: str | None = None
) -> int:
    """The status of one answer; 0 when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {broken.HEADER: length} if length is not None else {}
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def statuses(port: int) -> dict[str, int]:
    """Each request of the matrix of broken ones, and some good ones."""
    found = {}
    for name, document in ACCEPTED.items():
        found[name] = status(port, "POST", CLASSIFY, json.dumps(document).encode())
    for name, body in broken.JSON_BODIES.items():
        found[name] = status(port, "POST", CLASSIFY, body)
    for name, (body, length) in broken.FRAMES.items():
        found[name] = status(port, "POST", CLASSIFY, body, length)
    for name, document in _lethal_last(broken.DOCUMENTS):
        found[name] = status(port, "POST", CLASSIFY, json.dumps(document).encode())
    for name, (model, document) in broken.OTHER_MODELS.items():
        if model in ("fp16", "bytes", "bool"):
            path = f"/v2/models/{model}/infer"
            found[name] = status(port, "POST", path, json.dumps(document).encode())
    for path in ("/index.html", "/v2/models/other", "/v2/models/classifier/versions/2"):
        found[f"GET {path}"] = status(port, "GET", path)
    found["still ready"] = status(port, "GET", "/v2/health/ready")
    return found


def codes(port: int) -> dict[str, str]:
    """The same over gRPC: the code of each message of the table."""
    found = {}
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(INFER)
        for name, data in [*GOOD.items(), *_lethal_last(BROKEN)]:
            found[name] = _code(call, data)
    return found


def afterwards(ports: Ports) -> tuple[dict[str, int], dict[str, str]]:
    """A good request, over REST and over gRPC."""
    document = json.dumps(ACCEPTED["a good one"]).encode()
    with grpc.insecure_channel(f"127.0.0.1:{ports[1]}") as channel:
        code = _code(channel.unary_unary(INFER), GOOD["raw"])
    return {AFTERWARDS: status(ports[0], "POST", CLASSIFY, document)}, {AFTERWARDS: code}


def _code(call: Any, data: bytes) -> str:
    try:
        call(data, timeout=20)
        return "OK"
    except grpc.RpcError as error:
        return str(error.code().name)


def _lethal_last(table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(table.items(), key=lambda entry: entry[0] in LETHAL)


def suite(ports: Ports) -> dict[str, str]:
    """What stock clients make of it: check → ok, or the last line of what went wrong."""
    found = {}
    for kind, port in zip(("http", "grpc"), ports, strict=True):
        script = ROOT / "tests/support/triton_conformance.py"
        done = subprocess.run(
            [str(VENVS / "venv-triton/bin/python"), str(script), kind, f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
        for name, outcome in json.loads(done.stdout.splitlines()[-1]).items():
            found[f"{kind} {name}"] = outcome.strip().splitlines()[-1][:200]
    return found


def main() -> None:
    """Print and keep what differs."""
    outcomes: dict[str, tuple[dict[str, Any], ...]] = {}
    for name, server in (("triton", triton), ("packager", ours)):
        with server() as ports:
            checked, answered = suite(ports), statuses(ports[0])
            rest, _ = afterwards(ports)
        # Anew, since the last requests may have ended a model.
        with server() as ports:
            anew = afterwards(ports)
            called = codes(ports[1])
            _, remote = afterwards(ports)
        rest, remote = anew if name == "triton" else (rest, remote)
        outcomes[name] = (checked, answered | rest, called | remote)
    theirs, mine = outcomes["triton"], outcomes["packager"]
    checks, answers, calls = (
        {n: {"triton": theirs[part].get(n), "packager": o} for n, o in mine[part].items()}
        for part in range(3)
    )
    apart = {n: o for n, o in answers.items() if len({s < 400 for s in o.values()}) > 1}
    called_apart = {n: o for n, o in calls.items() if len({c == "OK" for c in o.values()}) > 1}
    unlike = {n: o for n, o in checks.items() if set(o.values()) != {"ok"}}
    alike = len(answers) - len(apart)
    called_alike = len(calls) - len(called_apart)
    found = {
        "answered_or_refused_alike": f"{alike} of {len(answers)}",
        "calls_answered_or_refused_alike": f"{called_alike} of {len(calls)}",
        "statuses_triton_and_packager": _pairs(answers),
        "codes_triton_and_packager": _pairs(calls),
        "checks_that_both_pass": f"{len(checks) - len(unlike)} of {len(checks)}",
        "checks_that_differ": {n: o | {"why": THEIRS.get(n)} for n, o in unlike.items()},
        "answers_that_differ": _explained(apart),
        "calls_that_differ": _explained(called_apart),
    }
    print(json.dumps(found, indent=2))
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    (HERE / "results" / "oracle.json").write_text(text)
    unexplained = {**apart, **called_apart}.keys() - STRICTER.keys() | unlike.keys() - THEIRS.keys()
    sys.exit(1 if unexplained else 0)


def _explained(outcomes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: one | {"why": STRICTER.get(name)} for name, one in outcomes.items()}


def _pairs(outcomes: dict[str, dict[str, Any]]) -> dict[str, int]:
    counts = Counter(f"{one['triton']} / {one['packager']}" for one in outcomes.values())
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    main()
