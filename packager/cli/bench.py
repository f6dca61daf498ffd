"""How much a server gives, and how long its answers take."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.console import Console, table
from packager.cli.options import FILE, optional_trust_options, target_option, with_console
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.errors import InputError

if TYPE_CHECKING:
    from packager.bench.figures import Step

_CLIENTS = (1, 4, 16, 64)


class NumbersType(click.ParamType[tuple[float, ...], str]):
    """`1,4,16`."""

    def __init__(self, *, whole: bool, most: float) -> None:
        self.name = "numbers"
        self._whole = whole
        self._most = most

    def convert(
        self,
        value: str | tuple[float, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(part) if self._whole else float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not like 1,4,16", param, ctx)
        if any(not 0 < one <= self._most for one in found):
            self.fail(f"each must be above 0 and at most {self._most:g}", param, ctx)
        return found


@click.command()
@click.argument("where", metavar="URL|RELEASE")
@optional_trust_options
@target_option
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="For a RELEASE: Docker, or the same runtime as a local process.",
)
@click.option("--model", help="Its name.  [default: the only one that the server has]")
@click.option("--samples", type=FILE, help="An .npz of inputs by name.  [default: made-up numbers]")
@click.option("--rows", type=click.IntRange(1, 65536), default=1, help="Rows a request.")
@click.option("--json-body", is_flag=True, help="Tensors as JSON instead of binary.")
@click.option("--path", help="Another path to POST to, such as /v1/embeddings, with --body.")
@click.option("--body", type=FILE, help="The file that is sent to --path.")
@click.option("--content-type", default="application/json", help="Of --body.")
@click.option(
    "--clients",
    type=NumbersType(whole=True, most=16384),
    help="Closed loop: so many clients, one step each.  [default: 1,4,16,64, without --rate]",
)
@click.option(
    "--rate",
    "rates",
    type=NumbersType(whole=False, most=1e6),
    help="Open loop: requests a second at random (Poisson), one step each.",
)
@click.option("--seconds", type=click.FloatRange(0.1, 86400), default=3.0, help="Of each step.")
@click.option("--requests", type=click.IntRange(1), help="At most so many in each step.")
@click.option("--warm-up", type=click.FloatRange(0, 3600), default=1.0, help="Seconds before.")
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=30.0, help="Seconds.")
@click.option("--seed", type=int, default=7, help="Of the random arrivals.")
@click.option("--api-key", metavar="FILE|env://NAME", help="The key, never on the command line.")
@click.option("--ca", "authorities", type=FILE, help="PEM of who signed the server's certificate.")
@click.option("--client-certificate", type=FILE, help="PEM, for mTLS.")
@click.option("--client-key", type=FILE, help="PEM, for mTLS.")
@click.option("-o", "--report", type=FILE, help="An HTML page with tables and plots.")
@click.option(
    "--record",
    type=FILE,
    help="For a RELEASE, instead of load: its model timed on this machine, for `build "
    "--measurements`.",
)
@with_console
def bench(console: Console, where: str, trust: TrustFiles, **options: Any) -> None:
    """Load a server and show what it gives: closed loop (--clients), open loop (--rate).

    A URL is asked as it is. A RELEASE is verified and started here first, as `packager run` does.
    Without packager, a site measures with the image itself: `docker run --rm IMAGE --measure`.

    \b
    Examples:
      packager bench http://127.0.0.1:8080
      packager bench release --key site.pub --clients 1,8,32 -o load.html
      packager bench https://edge:8080 --ca ca.pem --api-key env://KEY --rate 50,100,200 --json
      packager bench http://127.0.0.1:8080 --path /v1/embeddings --body texts.json
      packager bench release --key site.pub --record packager.measurements.json
    """
    url = where.partition("://")[0] in ("http", "https")
    if (options["path"] is None) != (options["body"] is None):
        raise click.UsageError("--path and --body go together")
    if options["record"] and url:
        raise click.UsageError("--record needs a RELEASE; a site without it runs IMAGE --measure")
    if not url and not trust.keys:
        raise click.UsageError("a RELEASE is verified first: give its --key")
    if options["record"]:
        _record(console, Path(where), trust, options)
        return
    with ExitStack() as stack:
        model = options["model"]
        if not url:
            from packager import running

            started = stack.enter_context(
                running.running(
                    Path(where),
                    trust,
                    target=options["target"],
                    port=None,
                    engine_choice=options["engine"],
                    progress=console,
                )
            )
            console.note(started.how)
            where, model = started.url, model or started.model
        _load(console, where, model, options)


def _load(console: Console, url: str, model: str | None, options: dict[str, Any]) -> None:
    from packager.bench.benching import Asked, Sweep
    from packager.bench.benching import bench as load
    from packager.bench.load import Bounds
    from packager.bench.report import html_report
    from packager.bench.server import Identity, Server
    from packager.workspace import write_atomically

    server = Server.at(
        url,
        Identity(
            _secret(options["api_key"]),
            options["authorities"],
            options["client_certificate"],
            options["client_key"],
        ),
    )
    rates = options["rates"] or ()
    record = load(
        server,
        Asked(
            model,
            options["samples"],
            options["rows"],
            not options["json_body"],
            options["path"],
            options["body"],
            options["content_type"],
        ),
        Sweep(
            options["clients"] or (() if rates else _CLIENTS),
            rates,
            Bounds(options["seconds"], options["requests"], options["timeout"]),
            options["warm_up"],
            options["seed"],
        ),
        console,
    )
    document = record.as_dict()
    if options["report"]:
        write_atomically(options["report"], html_report(document).encode())
        console.note(f"report in {options['report']}")
    if any(step.generator_cpu >= 0.9 for step in record.steps):
        console.note("this generator was at its limit (one core): the server may give more")
    console.result(f"{record.what}\n{_table(record.steps)}", document)


def _table(steps: tuple[Step, ...]) -> str:
    names = ("p50", "p90", "p95", "p99", "p99.9", "max")
    rows = []
    for step in steps:
        load = f"{step.load:g} clients" if step.loop == "closed" else f"{step.load:g} /s at random"
        failures = "; ".join(f"{why}: {count}" for why, count in step.failures.items())
        if step.refused_p99_ms is not None:
            failures += f" (refusals p99 {step.refused_p99_ms:g} ms)"
        latencies = [f"{step.latency_ms[name]:.2f}" if step.latency_ms else "" for name in names]
        rate = step.per_second
        rows.append([load, f"{rate:.0f}", f"{rate * step.rows:.0f}", *latencies, failures])
    head = ["load", "good/s", "rows/s", *(f"{name} ms" for name in names), "not answered well"]
    return table(head, rows)


def _record(console: Console, release: Path, trust: TrustFiles, options: dict[str, Any]) -> None:
    import json

    from packager import running
    from packager.workspace import write_atomically

    target: TargetName | None = options["target"]
    text = running.measured(
        release, trust, target=target, engine_choice=options["engine"], progress=console
    )
    write_atomically(options["record"], text.encode())
    console.result(str(options["record"]), json.loads(text))


def _secret(reference: str | None) -> str | None:
    """The key of a file or a variable. Raises InputError when there is none."""
    if reference is None:
        return None
    if reference.startswith("env://"):
        name = reference.removeprefix("env://")
        found = os.environ.get(name)
    else:
        try:
            found = Path(reference).read_text(encoding="ascii")
        except (OSError, ValueError):
            found = None
    if not found or not found.strip():
        raise InputError(
            "the API key cannot be read",
            where="--api-key",
            expected="a file with the key in one line, or env://NAME",
            got=reference if Path(reference).exists() or "://" in reference else "no such file",
        )
    return found.strip()
