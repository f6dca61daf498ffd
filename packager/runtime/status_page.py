"""One page for a human at an edge site, at `/`: is it well, what runs, how fast, since when.

No script, no picture, no font, nothing from elsewhere; it loads itself again every five seconds.
"""

from __future__ import annotations

import time
from html import escape

from . import VERSION
from .configuration import Configuration
from .exchange import Exchange, Response
from .figures import Figures
from .models import Model
from .statistics import Histogram

_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{margin:2rem auto;max-width:62rem;padding:0 1rem}
h1{font-size:1.4rem;margin:0 0 .2rem}
.state{display:inline-block;padding:.1rem .7rem;border-radius:1rem;color:#fff;background:#b42318}
.state.ready{background:#177245}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #8884}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
small{opacity:.7}
"""


class StatusPage:
    """The handler of `/`."""

    def __init__(self, configuration: Configuration, figures: Figures) -> None:
        self._configuration = configuration
        self._figures = figures

    def __call__(self, _: Exchange) -> Response:
        figures, release = self._figures, self._configuration.release
        ready = figures.ready()
        state = "ready" if ready else figures.phase() if figures.phase() != "ready" else "failing"
        rows = "".join(_row(model) for model in figures.models())
        answers = ", ".join(
            f"{count} × {status}" for status, count in sorted(figures.answers.items())
        )
        memory = figures.process()["process_resident_memory_bytes"][2] / (1 << 20)
        page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width"><title>{escape(release.name)}: {state}</title>
<style>{_STYLE}</style></head><body>
<h1>{escape(release.name)} {escape(release.version)}
<span class="state{" ready" if ready else ""}">{state}</span></h1>
<p>{escape(release.target)} · may run in
{escape(", ".join(self._configuration.jurisdiction.regions)) or "any region of its jurisdiction"}
· up for {_duration(time.time() - figures.started)}</p>
<table><thead><tr><th>model</th><th>runs on</th><th class="n">answered</th><th class="n">failed</th>
<th class="n">waiting</th><th class="n">rows a run</th><th class="n">p50</th><th class="n">p99</th>
</tr></thead><tbody>{rows}</tbody></table>
<p><small>{figures.in_hand()} in hand · {figures.connections()} connections · {memory:.0f} MiB ·
answers: {answers or "none yet"} · packager-runtime {VERSION} ·
<a href="/metrics">metrics</a> · <a href="/openapi.json">OpenAPI</a></small></p>
</body></html>
"""
        return Response(200, page.encode(), b"text/html; charset=utf-8", _HEADERS)


def _row(model: Model) -> str:
    settings, statistics = model.settings, model.scheduler.statistics
    mean = statistics.rows / statistics.executions if statistics.executions else 0
    cells = [
        f"<td>{escape(settings.name)} <small>v{escape(settings.version)}</small></td>",
        f"<td>{escape(model.session.execution_provider.removesuffix('ExecutionProvider'))}</td>",
        *(
            f'<td class="n">{value}</td>'
            for value in (
                statistics.success.count,
                statistics.fail.count,
                model.scheduler.queued,
                f"{mean:.1f}",
                _quantile(statistics.request_seconds, 0.5),
                _quantile(statistics.request_seconds, 0.99),
            )
        ),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _quantile(values: Histogram, part: float) -> str:
    bound = values.quantile(part)
    if bound is None:
        return "–"
    return f"> {values.bounds[-1]:g} s" if bound == float("inf") else f"≤ {bound * 1000:g} ms"


def _duration(seconds: float) -> str:
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{int(seconds)} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
