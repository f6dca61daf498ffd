"""The golden self-test of a site: known inputs in, through the real port, known outputs out.

Runs in a container of the release's own image, on the host's network, so that it asks where every
caller asks. Nothing of the model is loaded here; the answers come over HTTP.

    python -I -c "$(cat selftest.py)" test HOST PORT SLOT SECONDS
    python -I -c "$(cat selftest.py)" both HOST PORT SLOT SECONDS WATCH

`test` waits up to SECONDS for readiness, then compares. `both` does that and says `tested: …`; as
soon as the state file names SLOT as serving it asks for readiness for all of WATCH seconds, gives
up after three refusals in a row, and compares again. The last line says what came out; the exit
status is 0 when all is well, 1 when an answer is wrong, 3 when it never was ready or was not
switched to. SLOT names the version to ask (see the door); empty for whoever serves.
"""

import http.client
import io
import json
import pathlib
import sys
import time

import numpy as np

CONFIGURATION = pathlib.Path("/opt/packager/server.json")
STATE = pathlib.Path("/run/packager/state")
SWITCH_SECONDS = 120
REFUSALS = 3
PERIOD_SECONDS = 0.25
INTEGERS = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
WIDTHS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}


class Wrong(Exception):
    """An answer that is not the known one."""


class Server:
    """The version behind the port."""

    def __init__(self, host, port, slot):
        self._address = host, int(port)
        self._headers = {"Packager-Slot": slot} if slot else {}

    def ask(self, method, path, body=None, headers=(), seconds=60):
        """Status, header length of binary answers (or None), body."""
        connection = http.client.HTTPConnection(*self._address, timeout=seconds)
        try:
            connection.request(method, path, body, {**self._headers, **dict(headers)})
            answer = connection.getresponse()
            length = answer.getheader("Inference-Header-Content-Length")
            return answer.status, length, answer.read()
        finally:
            connection.close()

    def ready(self):
        """An empty text when it is ready, else why not."""
        try:
            status, _, body = self.ask("GET", "/v2/health/ready", seconds=5)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        return "" if status == 200 else f"HTTP {status} {body[:120].decode(errors='replace')}"


def wait_ready(server, seconds):
    deadline = time.monotonic() + seconds
    while why := server.ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {seconds:g} s: {why}")
        time.sleep(PERIOD_SECONDS)


def wait_serving(slot):
    """Until the site's state file names the slot."""
    deadline = time.monotonic() + SWITCH_SECONDS
    while f"serving={slot}" not in STATE.read_text(encoding="utf-8").splitlines():
        if time.monotonic() > deadline:
            raise TimeoutError("it was not switched to")
        time.sleep(0.02)


def watch(server, seconds):
    deadline = time.monotonic() + seconds
    refusals = 0
    while time.monotonic() < deadline:
        why = server.ready()
        refusals = refusals + 1 if why else 0
        if refusals >= REFUSALS:
            raise TimeoutError(f"no longer ready: {why}")
        time.sleep(PERIOD_SECONDS)


def compare(server):
    """Every model's golden file against the server; what was compared, in words."""
    configuration = json.loads(CONFIGURATION.read_bytes())
    root = CONFIGURATION.parent
    told = []
    for model in configuration["models"]:
        if not model["golden"]:
            told.append(f"{model['name']}: no golden samples in this release, readiness only")
            continue
        with np.load(root / model["golden"]["path"], allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        began = time.monotonic()
        got = infer(server, model, arrays)
        took = (time.monotonic() - began) * 1000
        worst = max(
            difference(got[spec["name"]], spec, arrays["output." + spec["name"]], model["golden"])
            for spec in model["outputs"]
        )
        told.append(f"{model['name']}: {len(got)} outputs agree, off by {worst:.2g}, {took:.0f} ms")
    told += [compare_text(server, root, model) for model in configuration.get("generative", [])]
    return "; ".join(told)


def compare_text(server, root, model):
    """What a text model says to its golden prompts, greedily, against what it must say."""
    if not model["golden"]:
        return f"{model['name']}: no golden answers in this release, readiness only"
    from tokenizers import Tokenizer  # only images with a text model have it

    tokenizer = Tokenizer.from_file(str(root / model["tokenizer"]))
    cases = json.loads((root / model["golden"]["path"]).read_bytes())["cases"]
    began = time.monotonic()
    for number, case in enumerate(cases, start=1):
        asked = {
            "model": model["name"],
            "prompt": case["prompt"],
            "max_tokens": len(case["answer"]),
            "temperature": 0,
            "ignore_eos": True,
        }
        status, _, body = server.ask("POST", "/v1/completions", json.dumps(asked).encode())
        if status != 200:
            raise Wrong(f"HTTP {status} {body[:200].decode(errors='replace')}")
        said = json.loads(body)["choices"][0]["text"]
        if said != tokenizer.decode(case["answer"]):
            raise Wrong(f"{model['name']}: another answer than the known one to prompt {number}")
    took = (time.monotonic() - began) * 1000
    return f"{model['name']}: {len(cases)} answers agree, {took:.0f} ms"


def infer(server, model, arrays):
    inputs, bodies = [], []
    for spec in model["inputs"]:
        array = arrays["input." + spec["name"]]
        data = encode(array, spec["datatype"])
        inputs.append(
            {
                "name": spec["name"],
                "datatype": spec["datatype"],
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(data)},
            }
        )
        bodies.append(data)
    asked = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    head = json.dumps(asked).encode()
    status, length, body = server.ask(
        "POST",
        f"/v2/models/{model['name']}/versions/{model['version']}/infer",
        head + b"".join(bodies),
        {"Inference-Header-Content-Length": str(len(head))},
    )
    if status != 200:
        raise Wrong(f"HTTP {status} {body[:200].decode(errors='replace')}")
    end = int(length) if length else len(body)
    answer, rest = json.loads(body[:end]), io.BytesIO(body[end:])
    found = {}
    for output in answer["outputs"]:
        data = rest.read(output.get("parameters", {}).get("binary_data_size", 0))
        found[output["name"]] = decode(data, output)
    return found


def encode(array, datatype):
    if datatype != "BYTES":
        return np.ascontiguousarray(array).tobytes()
    texts = [
        item.encode() if isinstance(item, str) else bytes(item) for item in array.ravel().tolist()
    ]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def decode(data, output):
    """The tensor as numbers, or as a list of bytes."""
    datatype, shape = output["datatype"], output["shape"]
    if datatype == "BYTES":
        texts, place = [], 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 4], "little")
            texts.append(data[place + 4 : place + 4 + size])
            place += 4 + size
        return texts
    if datatype == "BF16":
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape)
    code = WIDTHS.get(datatype) or np.dtype("bool" if datatype == "BOOL" else datatype.lower())
    return np.frombuffer(data, code).reshape(shape)


def difference(got, spec, expected, golden):
    """The largest relative difference of numbers; raises Wrong beyond the tolerance."""
    name, datatype = spec["name"], spec["datatype"]
    if datatype == "BYTES":
        texts = [
            item.encode() if isinstance(item, str) else bytes(item)
            for item in expected.ravel().tolist()
        ]
        if got != texts:
            raise Wrong(f"output {name}: the texts differ")
        return 0.0
    if datatype == "BF16":
        bits = expected.view(np.uint16).astype(np.uint32) << 16
        expected = bits.view(np.float32)
    if got.shape != expected.shape:
        raise Wrong(f"output {name}: shape {list(got.shape)}, expected {list(expected.shape)}")
    if datatype in INTEGERS:
        if not np.array_equal(got, expected):
            raise Wrong(f"output {name}: {int(np.count_nonzero(got != expected))} values differ")
        return 0.0
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        off = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    worst = float(np.where(same, 0.0, np.where(np.isfinite(off), off, np.inf)).max(initial=0.0))
    if worst > golden["tolerance"]:
        raise Wrong(f"output {name} is off by {worst:.3g}, allowed is {golden['tolerance']:g}")
    return worst


def tell(text):
    """One line; what a server said may hold more."""
    sys.stdout.write(" ".join(text.split()) + "\n")
    sys.stdout.flush()


def main(mode, host, port, slot, seconds, watched="0"):
    """The last line and the exit status."""
    server = Server(host, port, slot)
    try:
        wait_ready(server, float(seconds))
        told = compare(server)
        if mode == "both":
            tell("tested: " + told)
            wait_serving(slot)
            watch(server, float(watched))
            told = compare(server)
        return told, 0
    except TimeoutError as error:
        return str(error), 3
    except Wrong as error:
        return str(error), 1
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}", 1


if __name__ == "__main__":
    last, status = main(*sys.argv[1:7])
    tell(last)
    sys.exit(status)
