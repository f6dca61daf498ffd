"""Closed-loop load from C programs, so that the load costs little: `wrk`, and `h2load` for gRPC
(apt-get install wrk nghttp2-client)."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
"""
_WARM_UP_SECONDS = 1
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """What `clients` connections got in one run; milliseconds."""

    clients: int
    per_second: float
    p50: float
    p99: float
    errors: int


def closed_loop(
    url: str, body: bytes, headers: dict[str, str], clients: int, seconds: float
) -> Load:
    """Each client sends its next request when it has its answer."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder, "body")
        payload.write_bytes(body)
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script = Path(folder, "load.lua")
        script.write_text(_SCRIPT.format(body=payload, headers=lines))
        done = _said_by(
            [
                *(wrk, "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--latency"),
                *("-s", str(script), url),
            ]
        )
    errors = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", done))
    for line in re.findall(r"Socket errors: (.*)", done):
        errors += sum(int(n) for n in re.findall(r"(\d+)", line))
    return Load(
        clients,
        float(re.findall(r"Requests/sec:\s+([\d.]+)", done)[0]),
        _milliseconds(done, "50%"),
        _milliseconds(done, "99%"),
        errors,
    )


def closed_loop_grpc(
    url: str, body: bytes, headers: dict[str, str], clients: int, seconds: float
) -> Load:
    """The same over HTTP/2 without TLS, one connection a client; `body` is a framed message.

    Counted is what comes after connections and settings. gRPC's own status is in the trailers,
    which h2load does not look at.
    """
    h2load = shutil.which("h2load")
    if h2load is None:
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    with tempfile.TemporaryDirectory() as folder:
        payload, log = Path(folder, "body"), Path(folder, "log")
        payload.write_bytes(body)
        fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        command = [
            *(h2load, "-t1", "-m1", f"-c{clients}", f"-D{max(1, round(seconds))}"),
            *(f"--warm-up-time={_WARM_UP_SECONDS}", "-d", str(payload), *fields, url),
        ]
        done = _said_by(command)
        # A line for each request costs some of the rate, so latencies have a run of their own.
        _said_by([*command, f"--log-file={log}"])
        taken = sorted(int(line.split()[2]) / 1e3 for line in log.read_text().splitlines())
    failed = int(re.findall(r"(\d+) failed", done)[0])
    return Load(
        clients,
        float(re.findall(r"finished in [^,]*, ([\d.]+) req/s", done)[0]),
        taken[len(taken) // 2],
        taken[len(taken) * 99 // 100],
        failed,
    )


def _said_by(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _milliseconds(text: str, percentile: str) -> float:
    value, unit = re.findall(rf"{percentile}\s+([\d.]+)(us|ms|s|m)\b", text)[0]
    return float(value) * _UNITS[unit]
