"""`python -m packager_runtime --config /opt/packager/server.json`

Arguments in, exit code out, and one line on stderr when the server must not start.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .errors import ExitCode, Refusal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code (see `errors.ExitCode`)."""
    # Process 1 of a container ignores signals that it has no handler for, so there is one before
    # the slow imports below begin.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(ExitCode.OK))
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except Refusal as refusal:
        return _refuse(refusal.code, str(refusal))
    except Exception as error:
        return _refuse(ExitCode.SOFTWARE, f"a fault: {type(error).__name__}: {error}")


def _run(options: argparse.Namespace) -> int:
    from . import configuration

    loaded = configuration.load(options.config)
    loaded.require_region(os.environ.get("PACKAGER_REGION") or None)
    if options.measure:
        from . import measuring

        return measuring.measure(loaded, sys.stdout, sys.stderr)
    http = loaded.http.listening_on(options.host, options.port)
    loaded.access.require_safe(http)
    if options.grpc_port is not None and loaded.grpc_port is not None:
        loaded = replace(loaded, grpc_port=options.grpc_port)

    from . import server

    return server.run(loaded, http)


def _refuse(code: ExitCode, message: str) -> int:
    sys.stderr.write("packager-runtime: " + " ".join(message.split()) + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="packager-runtime", description="Serves the models that server.json declares."
    )
    parser.add_argument("--config", type=Path, required=True, help="path of server.json")
    parser.add_argument("--host", help="IP address to listen on instead of the declared one")
    parser.add_argument("--grpc-port", type=int, help="the same for gRPC, where the image has it")
    parser.add_argument("--port", type=int, help="port to listen on instead of the declared one")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="serve nothing: time the models here and print a record for `packager build"
        " --measurements`",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
