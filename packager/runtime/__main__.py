"""`python -m packager_runtime --config /opt/packager/server.json`

Arguments in, exit code out, and one line on stderr when the server must not start.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .errors import ExitCode, Refusal
from .lean_asyncio import load_lean_asyncio
from .lean_libraries import load_lean_libraries


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code (see `errors.ExitCode`)."""
    # Process 1 of a container ignores signals that it has no handler for, so there is one before
    # the slow imports below begin.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(ExitCode.OK))
    options = _options(sys.argv[1:] if arguments is None else list(arguments))
    try:
        return _run(options)
    except Refusal as refusal:
        return _refuse(refusal.code, str(refusal))
    except Exception as error:
        return _refuse(ExitCode.SOFTWARE, f"a fault: {type(error).__name__}: {error}")


def _run(options: _Options) -> int:
    # Nothing that is loaded goes away again; `server` collects when it is ready.
    gc.disable()
    load_lean_libraries()
    from . import configuration
    from .checking_ahead import check_ahead

    loaded = configuration.load(options.config)
    loaded.require_region(os.environ.get("PACKAGER_REGION") or None)
    if options.measure:
        from . import measuring

        gc.enable()
        return measuring.measure(loaded, sys.stdout, sys.stderr)
    http = loaded.http.listening_on(options.host, options.port)
    loaded.access.require_safe(http)
    if options.grpc_port is not None and loaded.grpc_port is not None:
        loaded = loaded._replace(grpc_port=options.grpc_port)

    checked = check_ahead(loaded.folder, loaded.models)
    if loaded.access.certificate is None and not loaded.generative:
        load_lean_asyncio()
    from . import server

    return server.run(loaded, http, checked)


def _refuse(code: ExitCode, message: str) -> int:
    sys.stderr.write("packager-runtime: " + " ".join(message.split()) + "\n")
    return code


class _Options(NamedTuple):
    config: str
    host: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    measure: bool = False


def _options(arguments: list[str]) -> _Options:
    """Options as images and `packager run` give them; argparse, which takes 15 ms to load, is asked
    when they are anything else, and then knows what to say."""
    plain: dict[str, str] = dict(zip(arguments[::2], arguments[1::2], strict=False))
    values = {name: plain.get(f"--{name}", "") for name in ("config", "host", "port", "grpc-port")}
    known = {f"--{name}" for name, value in values.items() if value and value[0] != "-"}
    numbers = [value for name, value in values.items() if name.endswith("port") and value]
    if (
        len(arguments) != 2 * len(plain)
        or set(plain) != known
        or not values["config"]
        or not all(number.isascii() and number.isdigit() for number in numbers)
    ):
        return _parsed(arguments)
    return _Options(
        values["config"],
        values["host"] or None,
        int(values["port"]) if values["port"] else None,
        int(values["grpc-port"]) if values["grpc-port"] else None,
    )


def _parsed(arguments: list[str]) -> _Options:
    import argparse

    parser = argparse.ArgumentParser(
        prog="packager-runtime", description="Serves the models that server.json declares."
    )
    parser.add_argument("--config", required=True, help="path of server.json")
    parser.add_argument("--host", help="IP address to listen on instead of the declared one")
    parser.add_argument("--grpc-port", type=int, help="the same for gRPC, where the image has it")
    parser.add_argument("--port", type=int, help="port to listen on instead of the declared one")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="serve nothing: time the models here and print a record for `packager build"
        " --measurements`",
    )
    return _Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
